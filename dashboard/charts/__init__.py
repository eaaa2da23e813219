"""Rows to plotly figures: no Streamlit, no SQL. A figure's alternative text is in its `meta`."""

from dashboard.charts.alpha import focus_over_alpha
from dashboard.charts.comparison import differences
from dashboard.charts.depth import block_maps, depth_scores
from dashboard.charts.focus import focus_of_prompts, focus_shift
from dashboard.charts.keywords import keyword_agreement
from dashboard.charts.outside import beside
from dashboard.charts.overlap import recovery_overlap
from dashboard.charts.overview import after_step, knowledge_against_utility
from dashboard.charts.penalty import penalty_shares
from dashboard.charts.recovery import MEASURES, effect_forest, recovery_rates
from dashboard.charts.restored import focus_restored
from dashboard.charts.runs import loss_curve
from dashboard.charts.utility import axes_of, utility_curves

__all__ = [
    "MEASURES",
    "after_step",
    "axes_of",
    "beside",
    "block_maps",
    "depth_scores",
    "differences",
    "effect_forest",
    "focus_of_prompts",
    "focus_over_alpha",
    "focus_restored",
    "focus_shift",
    "keyword_agreement",
    "knowledge_against_utility",
    "loss_curve",
    "penalty_shares",
    "recovery_overlap",
    "recovery_rates",
    "utility_curves",
]
