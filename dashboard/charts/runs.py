"""How a run went while it trained."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from dashboard.charts import frame
from dashboard.look import formats, theme


def loss_curve(rows: pd.DataFrame, method: str) -> go.Figure:
    """Loss and gradient norm per optimizer step of one run.

    Args:
        rows: of `losses`.
        method: whose colour to use.
    """
    color = theme.method(method).color
    figure = frame.grid(
        1, ["Loss, as the method defines it", "Gradient norm before clipping (L2)"], 300,
        f"Loss of {theme.method_label(method)} over {len(rows)} steps, from "
        f"{formats.number(rows['loss'].iloc[0])} to {formats.number(rows['loss'].iloc[-1])}",
        horizontal_spacing=0.07,
    )  # fmt: skip
    for column, name in enumerate(("loss", "gradient_norm"), start=1):
        figure.add_scatter(
            x=rows["step"], y=rows[name].astype(float), mode="lines", showlegend=False,
            line={"color": color, "width": 2}, row=1, col=column,
            hovertemplate=f"step %{{x}}<br>{name.replace('_', ' ')} %{{y:.4g}}<extra></extra>",
        )  # fmt: skip
    figure.update_xaxes(title="optimizer step")
    return figure
