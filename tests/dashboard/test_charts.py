"""Figures: what is drawn where, and that text from data is never taken for markup."""

from __future__ import annotations

import json
from itertools import combinations, pairwise
from math import isnan
from pathlib import Path

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from dashboard import charts
from dashboard.charts import frame
from dashboard.look import theme
from dashboard.markup import evidence, heat, listings

HOSTILE = "<b>bold</b><script>x</script> $\\frac{1}{2}$"


def finals() -> pd.DataFrame:
    """Rows of `overview`: a base model, and a run that emphasis opens again."""
    base = {"run_id": "base", "model": "tiny", "method": "none", "plain": 1.0, "any_emphasis": 1.0,
            "any_placebo": 1.0, "utility": 1.0}  # fmt: skip
    run = {"run_id": "run", "model": "tiny", "method": "ga", "plain": 0.1, "any_emphasis": 0.6,
           "any_placebo": 0.2, "utility": 0.4}  # fmt: skip
    rows = pd.DataFrame([base, run])
    for name in ("plain", "any_emphasis", "any_placebo", "utility"):
        rows = rows.assign(**{f"{name}_low": rows[name] - 0.05, f"{name}_high": rows[name] + 0.05})
    return rows.assign(
        n=100, groups=20, guess_rate=0.016, utility_worst="retain correct", weight_change=0.02
    )


def steps() -> pd.DataFrame:
    """Rows of `trajectory` of the same run."""
    return pd.DataFrame({
        "run_id": "run", "model": "tiny", "method": "ga", "step": [10, 0], "axis": "step",
        "axis_value": [10.0, 0.0], "is_final": [True, False], "plain": [0.1, 1.0],
        "emphasis": [0.5, None], "placebo": [0.2, None], "strategy": ["quote", None],
        "utility": [0.4, 1.0], "n": 100,
    })  # fmt: skip


def focus() -> pd.DataFrame:
    """Rows of `focus`: sham and one method, forget and retain prompts."""
    lines = [("sham", "forget", -0.05), ("sham", "retain", -0.04), ("ga", "forget", -0.5),
             ("ga", "retain", -0.1)]  # fmt: skip
    rows = pd.DataFrame(lines, columns=["method", "split", "shift"])
    return rows.assign(
        run_id=rows["method"], model="tiny", n=93, groups=20, focus_before=0.8,
        focus_after=0.8 + rows["shift"], shift_low=rows["shift"] - 0.03,
        shift_high=rows["shift"] + 0.03, key_contribution_before=1.2, key_contribution_after=0.3,
        undefined=2,
    )  # fmt: skip


def alphas() -> pd.DataFrame:
    """Rows of `focus_by_alpha`: two thresholds, of which the first is the recorded one."""
    return pd.concat(
        [focus().assign(alpha=a, is_recorded=a == 0.2, shift=focus()["shift"] + 0.2 - a)
         for a in (0.2, 0.3)]
    )  # fmt: skip


def planted() -> pd.DataFrame:
    """Rows of `keyword_agreement` of one model by two attribution methods."""
    names = ("leave_one_out", "integrated_gradients")
    values = {"precision": (0.8, 0.4), "recall": (0.6, 1.0)}
    lines = [(names[i], measure, of[i]) for i in (0, 1) for measure, of in values.items()]
    rows = pd.DataFrame(lines, columns=["attribution_method", "measure", "estimate"])
    return rows.assign(
        run_id="base", model="tiny", split="forget", low=rows["estimate"] - 0.1,
        high=rows["estimate"] + 0.1, chance=0.3, n=93, groups=20,
    )  # fmt: skip


def restored() -> pd.DataFrame:
    """Rows of `focus_restored` of one run with few groups."""
    lines = [("recovered", 0.2), ("not recovered", 0.05), ("difference", 0.15)]
    rows = pd.DataFrame(lines, columns=["outcome", "change"])
    return rows.assign(
        run_id="run", model="tiny", method="ga", attempts=9, n=8, groups=5, focus_base=0.8,
        focus_plain=0.3, focus_emphasised=0.3 + rows["change"], change_low=rows["change"] - 0.1,
        change_high=rows["change"] + 0.1, is_enough=False,
    )  # fmt: skip


def rates() -> pd.DataFrame:
    """Rows of `recovery_rates` of one run."""
    lines = [("any", "plain", 0.1), ("any", "treatment", 0.5), ("any", "placebo", 0.2),
             ("quote", "treatment", 0.4), ("quote", "placebo_same", 0.15)]  # fmt: skip
    rows = pd.DataFrame(lines, columns=["strategy", "arm", "residual"])
    return rows.assign(
        run_id="run", model="tiny", method="ga", n=100, groups=20,
        residual_low=rows["residual"] - 0.1, residual_high=rows["residual"] + 0.1, forgotten=90,
        settings="{}", never_residual=0.05,
        rung=[None, None, None, 1, 1],
        recovered=30, recovery_rate=1 / 3, guess_rate=0.016, not_built=0,
    )  # fmt: skip


def overlap() -> pd.DataFrame:
    """Rows of `recovery_overlap` of one run."""
    rows = pd.DataFrame({"rungs": [[1], [4], [1, 4]], "recovered": [2, 5, 3], "groups": [2, 4, 3]})
    return rows.assign(
        run_id="run", model="tiny", method="ga", share=rows["recovered"] / 10, total=10,
        forgotten=50, also_placebo=1, also_never_knew=[0, 1, None],
    )  # fmt: skip


def effects() -> pd.DataFrame:
    """Rows of `effects`: retain model and one method."""
    lines = [("retrain", "any", 0.0), ("ga", "any", 0.3), ("ga", "shout", 0.2)]
    rows = pd.DataFrame(lines, columns=["method", "strategy", "effect"])
    return rows.assign(
        run_id=rows["method"], model="tiny", effect_low=rows["effect"] - 0.1,
        effect_high=rows["effect"] + 0.1, n=93, groups=20, placebo_arm="placebo_same",
        never_knew="present",
    )  # fmt: skip


def classes() -> pd.DataFrame:
    """Rows of `class_contribution`: base model, and a run with an outlier."""
    lines = [("none", "forget", "keyword", 0.4), ("none", "forget", "function", 0.1),
             ("ga", "forget", "keyword", -9.0)]  # fmt: skip
    rows = pd.DataFrame(lines, columns=["method", "split", "token_class", "contribution"])
    return rows.assign(run_id=rows["method"], model="tiny", tokens=500, n=100)


def curves() -> pd.DataFrame:
    """Rows of `utility_curves`: base at one point, a stepped run, a task vector."""
    lines = [("none", "step", 0.0, 1.0), ("ga", "step", 0.0, 1.0), ("ga", "step", 20.0, 0.3),
             ("task_vector", "alpha", 0.0, 1.0), ("task_vector", "alpha", 1.0, 0.7)]  # fmt: skip
    rows = pd.DataFrame(lines, columns=["method", "axis", "axis_value", "value"])
    return rows.assign(
        run_id=rows["method"], model="tiny", step=0, measure="retain correct", n=100, groups=20,
        low=rows["value"] - 0.1, high=rows["value"] + 0.1, unit="fraction",
    )  # fmt: skip


def by_prompt() -> pd.DataFrame:
    """Rows of `focus_by_prompt` of one run."""
    return pd.DataFrame({
        "run_id": "run", "model": "tiny", "method": "ga", "split": ["forget", "forget"],
        "example_id": ["f1", "f2"], "prompt": [HOSTILE, "Where was Anna born?"],
        "focus_before": [0.8, 0.7], "focus_after": [0.1, None], "key_before": [1.0, 0.9],
        "key_after": [0.1, -0.2], "plain_correct": [True, False],
    })  # fmt: skip


def everything() -> dict[str, go.Figure]:
    losses = pd.DataFrame({"step": [0, 1], "loss": [2.0, 1.0], "gradient_norm": [1.0, None]})
    return {
        "knowledge": charts.knowledge_against_utility(finals(), steps(), 0.9),
        "focus": charts.focus_shift(focus()),
        "alphas": charts.focus_over_alpha(alphas(), 0.3),
        "planted": charts.keyword_agreement(planted()),
        "restored": charts.focus_restored(restored()),
        "prompts": charts.focus_of_prompts(by_prompt(), "run"),
        "rates": charts.recovery_rates(rates(), "residual"),
        "effects": charts.effect_forest(effects(), 0.1),
        "overlap": charts.recovery_overlap(overlap()),
        "utility": charts.utility_curves(curves(), "step"),
        "losses": charts.loss_curve(losses, "ga"),
    }


def points(figure: go.Figure, symbol: str) -> list[tuple[float, float]]:
    """Where markers of one symbol stand, keys of the legend left out."""
    return [
        (x, y)
        for trace in figure.data
        if trace.type == "scatter" and trace.marker.symbol == symbol
        for x, y in zip(trace.x, trace.y, strict=True)
        if x is not None
    ]


@pytest.mark.parametrize("name", list(everything()))
def test_every_figure_has_an_alternative_text_and_axis_titles(name: str) -> None:
    figure = everything()[name]
    assert len(figure.layout.meta["alt"]) > 30
    titles = [axis.title.text for axis in figure.select_xaxes()]
    assert any(titles), titles


def test_overview_puts_each_reading_at_its_utility() -> None:
    figure = charts.knowledge_against_utility(finals(), steps(), 0.9)
    assert points(figure, "diamond") == [(1.0, 1.0), (0.4, 0.6)]
    assert points(figure, "circle-open") == [(1.0, 1.0), (0.4, 0.2)]


def test_overview_path_runs_along_the_axis_not_in_row_order() -> None:
    figure = charts.knowledge_against_utility(finals(), steps(), 0.9)
    path = next(trace for trace in figure.data if trace.mode == "lines+markers")
    assert list(path.x) == [1.0, 0.4]
    assert list(path.y) == [1.0, 0.1]


def seeds_of(rows: pd.DataFrame, count: int) -> pd.DataFrame:
    """The rows again for each of so many runs of the same methods."""
    return pd.concat(
        [rows.assign(run_id=rows["run_id"] + f"-{seed}") for seed in range(count)],
        ignore_index=True,
    )


def test_overview_joins_no_two_runs_of_a_method_and_keeps_what_a_click_needs() -> None:
    figure = charts.knowledge_against_utility(seeds_of(finals(), 3), seeds_of(steps(), 3), 0.9)
    (path,) = [trace for trace in figure.data if trace.mode == "lines+markers"]
    assert list(path.x) == [1.0, 0.4, None, 1.0, 0.4, None, 1.0, 0.4]
    assert list(path.customdata)[3:5] == ["run-1", "run-1"]
    assert "step 10" in path.hovertext[4]
    ends = next(trace for trace in figure.data if trace.name == "GA")
    assert list(ends.customdata) == ["run-0", "run-1", "run-2"]
    one = charts.knowledge_against_utility(finals(), steps(), 0.9)
    assert len(figure.data) == len(one.data), "more runs of a method are no more traces"


def test_after_a_step_a_run_stands_where_its_path_has_come_to() -> None:
    way = steps().assign(utility_low=0.3, utility_high=0.5, utility_worst="x", weight_change=0.1)
    earlier = charts.after_step(finals(), way[way["step"] < 10].assign(emphasis=0.8, placebo=0.7))
    (run,) = earlier.to_dict("records")
    assert (run["plain"], run["any_emphasis"], run["any_placebo"]) == (1.0, 0.8, 0.7)
    assert isnan(run["plain_low"])
    assert isnan(run["guess_rate"])
    figure = charts.knowledge_against_utility(earlier, way[way["step"] < 10], 0.9)
    hover = [text for trace in figure.data for text in trace.hovertext or () if text]
    assert any("step 0" in text and "80%" in text for text in hover)
    assert "with one emphasis 80%" in figure.layout.meta["alt"]
    names = {trace.name for trace in figure.data}
    assert {"One emphasis of KeyTokens", "Its placebo"} <= names
    assert "Any placebo" not in names


def test_overview_shows_emphasis_and_its_placebo_on_the_way() -> None:
    way = steps().assign(emphasis=[0.5, 0.9], placebo=[0.2, 0.8])
    figure = charts.knowledge_against_utility(finals(), way, 0.9)
    ends = points(charts.knowledge_against_utility(finals(), steps(), 0.9), "diamond")
    assert sorted(points(figure, "diamond")) == sorted([*ends, (1.0, 0.9)]), "the end has all"
    assert (1.0, 0.8) in points(figure, "circle-open")


def labels(figure: go.Figure) -> list[tuple[str, float, str]]:
    """The names written into a figure: y axis, height, text."""
    written = [trace for trace in figure.data if trace.mode == "text"]
    return [
        (trace.yaxis, y, text.lstrip("\u00a0"))
        for trace in written
        for y, text in zip(trace.y, trace.text, strict=True)
    ]


def test_overview_of_many_runs_names_methods_once_and_leaves_earlier_steps_unmarked() -> None:
    way = steps().assign(emphasis=[0.5, 0.9], placebo=[0.2, 0.8])
    many = charts.knowledge_against_utility(seeds_of(finals(), 20), seeds_of(way, 20), 0.9)
    few = charts.knowledge_against_utility(seeds_of(finals(), 3), seeds_of(way, 3), 0.9)
    methods = finals()["method"].nunique()
    assert len(labels(many)) == methods
    assert len(labels(few)) == 3 * methods
    assert {trace.mode for trace in many.data} == {"lines", "markers", "text"}
    assert (1.0, 0.9) not in points(many, "diamond")
    assert (1.0, 0.9) in points(few, "diamond")


def test_tests_of_effects_say_why_there_is_no_p() -> None:
    rows = pd.DataFrame({
        "run_id": "r", "model": "m", "method": "ga", "strategy": ["quote", "any"],
        "effect": [0.2, None], "effect_low": [0.1, None], "effect_high": [0.3, None],
        "n": [40, 0], "groups": [20, 0], "p": [0.0005, None], "p_holm": [0.012, None],
        "gained": [9, None], "lost": [1, None], "p_mcnemar": [0.0215, None], "seeds": [2, 0],
        "spread": [0.03, None], "reason": [None, "<b>7 groups</b>, 8 needed"],
    })  # fmt: skip
    html = evidence.effect_tests(rows)
    for part in ("&lt; 0.001", "+3 pp", "+20 pp", "20 groups"):
        assert part in html
    assert "&lt;b&gt;7 groups&lt;/b&gt;, 8 needed" in html
    assert "nan" not in html.lower()
    line = listings.effect_tests(rows).set_index("Strategy").loc["Quotation marks"]
    assert (line["p, Holm"], line["p, McNemar"], line["Gained"]) == (0.012, 0.0215, 9)
    assert line["Net effect (pp)"] == pytest.approx(20)


def test_hover_tells_interval_n_groups_and_guess_rate() -> None:
    figure = charts.knowledge_against_utility(finals(), steps(), 0.9)
    text = next(t for t in figure.data if t.name == "GA").hovertext[0]
    for part in ("60% [55, 65]", "n = 100 examples in 20 groups", "guess rate: 1.6%"):
        assert part in text


def test_focus_shift_draws_sham_as_a_line_to_read_the_others_by() -> None:
    figure = charts.focus_shift(focus())
    dashed = [shape for shape in figure.layout.shapes if shape.line.dash == "dashdot"]
    assert [shape.x0 for shape in dashed] == [-5.0]  # percentage points


def test_alpha_draws_all_thresholds_as_lines_and_one_with_intervals() -> None:
    figure = charts.focus_over_alpha(alphas(), 0.3)
    lines = {tuple(t.x): list(t.y) for t in figure.data if t.mode == "lines+markers"}
    assert lines == {(0.2, 0.3): [pytest.approx(-50), pytest.approx(-60)]}  # ga, drawn last
    (forget,) = [
        t for t in figure.data if t.error_x.array is not None and "circle" in t.marker.symbol
    ]
    assert list(forget.x) == [pytest.approx(-15), pytest.approx(-60)]


def test_key_tokens_stand_beside_words_drawn_at_random() -> None:
    figure = charts.keyword_agreement(planted())
    assert [x for x, _ in points(figure, "line-ns")] == [0.3] * 4
    solid = [t for t in figure.data if isinstance(t.marker.symbol, tuple) and len(t.x)]
    assert [list(t.x) for t in solid] == [[0.8, 0.4], [0.6, 1.0]]


def test_focus_under_emphasis_says_where_there_is_not_enough_evidence() -> None:
    figure = charts.focus_restored(restored())
    notes = [note.text for note in figure.layout.annotations]
    assert notes.count("not enough evidence") == 1
    enough = charts.focus_restored(restored().assign(is_enough=True))
    assert "not enough evidence" not in [note.text for note in enough.layout.annotations]
    (difference,) = [t for t in figure.data if t.marker.symbol == ("circle",)]
    assert list(difference.x) == [pytest.approx(15)]


def test_focus_ticks_state_n_of_both_splits() -> None:
    ticks = charts.focus_shift(focus()).layout.yaxis.ticktext
    assert "forget n=93" in ticks[0]
    assert "retain n=93" in ticks[0]


def test_classes_show_their_mean_and_what_it_rests_on() -> None:
    table = heat.class_table(classes())
    assert theme.shade(0.4, theme.scale_limit(classes()["contribution"])) in table
    assert "−9.00</span>" in table
    assert "500 tokens in 100 prompts" in table


def test_effects_leave_out_the_models_they_are_measured_against() -> None:
    figure = charts.effect_forest(effects(), 0.1)
    assert [note.text for note in figure.layout.annotations if note.text] == ["GA, n = 93"]
    assert "Shout" in figure.layout.yaxis.ticktext  # a strategy nobody listed still has a label


def test_recovery_rate_has_no_interval_where_none_was_computed() -> None:
    for measure, drawn in (("residual", True), ("recovery_rate", False)):
        _, *arms = charts.recovery_rates(rates(), measure).data[:3]
        assert [trace.error_x.array is not None for trace in arms] == [drawn, drawn]


def test_utility_over_alpha_has_a_figure_of_its_own() -> None:
    assert charts.axes_of(curves()) == ["step", "alpha"]
    by_step = charts.utility_curves(curves(), "step")
    by_alpha = charts.utility_curves(curves(), "alpha")
    assert {trace.name for trace in by_step.data} == {"Base model", "GA"}
    assert {trace.name for trace in by_alpha.data} == {"Base model", "Task vector"}
    assert "alpha" in by_alpha.layout.xaxis.title.text


def test_utility_joins_no_two_runs_of_a_method_and_keeps_what_a_click_needs() -> None:
    figure = charts.utility_curves(seeds_of(curves(), 2), "step")
    ga = next(trace for trace in figure.data if trace.name == "GA")
    assert list(ga.x) == [0.0, 20.0, None, 0.0, 20.0]
    assert list(ga.customdata) == ["ga-0", "ga-0", None, "ga-1", "ga-1"]
    assert list(ga.error_y.array) == pytest.approx([0.1, 0.1, 0, 0.1, 0.1])
    base = next(trace for trace in figure.data if trace.name == "Base model")
    assert list(base.y) == [1.0, 1.0, None, 1.0, 1.0]
    assert len(figure.data) == 2


def test_recovery_marks_each_arm_and_the_references_as_the_legend_says() -> None:
    figure = charts.recovery_rates(rates(), "residual")
    grey, controls, treatment = figure.data[:3]
    assert list(grey.marker.symbol) == ["line-ns"] * 2 + ["star-open"] * 2
    assert list(grey.x) == [0.016, 0.016, 0.05, 0.05]
    assert list(controls.marker.symbol) == ["circle-open"] * 2
    assert list(controls.x) == [0.15, 0.2]
    assert list(treatment.x) == [0.5, 0.4]
    assert "retain model: 5%" in grey.hovertext[2]
    bare = charts.recovery_rates(rates(), "recovery_rate").data
    assert "star-open" not in bare[0].marker.symbol
    assert bare[1].error_x.array is None
    (plain,) = figure.layout.shapes
    assert (plain.x0, plain.line.dash) == (0.1, "dash")


def test_a_run_measured_once_is_a_level_line() -> None:
    figure = charts.utility_curves(curves(), "step")
    base = next(trace for trace in figure.data if trace.name == "Base model")
    assert list(base.x) == [0.0, 20.0]
    assert list(base.y) == [1.0, 1.0]


@pytest.mark.parametrize("name", list(everything()))
def test_text_from_data_is_escaped_in_every_figure(name: str) -> None:
    assert "<script" not in json.dumps(everything()[name].to_plotly_json(), default=list)


def test_a_model_name_is_no_markup_in_labels() -> None:
    rows = pd.concat([finals(), finals().assign(model=HOSTILE, run_id=["b2", "r2"])])
    figure = charts.knowledge_against_utility(rows, steps(), 0.9)
    text = figure.update_layout(meta=None).to_json()  # the alternative text is no markup anyway
    assert "u003cscript" not in text
    assert "$\\\\frac" not in text


def test_labels_name_every_run_once() -> None:
    rows = pd.DataFrame({
        "run_id": ["aaaa1", "bbbb2", "cccc3", "dddd4"], "method": ["ga", "ga", "ga", "none"],
        "model": ["m", "m", "n", "m"],
    })  # fmt: skip
    labels = list(theme.labelled(rows)["label"])
    assert labels == ["Base model · m", "GA · m · aaaa", "GA · m · bbbb", "GA · n"]


def test_labels_of_near_points_are_moved_apart() -> None:
    moved = frame.spread([0.5, 0.5, 0.52, 0.9], 0.1)
    ordered = sorted(moved)
    assert all(b - a > 0.0999 for a, b in pairwise(ordered))
    assert moved[3] == pytest.approx(0.9)


def of_two_models(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows, and the same again of a model called large."""
    again = rows.assign(model="large", run_id=rows["run_id"] + "-large")
    return pd.concat([rows, again], ignore_index=True)


def test_overview_has_a_panel_for_each_model_and_names_each_method_in_each() -> None:
    figure = charts.knowledge_against_utility(of_two_models(finals()), steps(), 0.9)
    assert len(list(figure.select_xaxes())) == 2
    assert {"tiny", "large"} <= {note.text for note in figure.layout.annotations}
    named = sorted((axis, text) for axis, _, text in labels(figure))
    assert named == [("y", "Base model"), ("y", "GA"), ("y2", "Base model"), ("y2", "GA")]
    lines = [shape for shape in figure.layout.shapes if shape.x0 == shape.x1 == 0.9]
    assert [line.xref for line in lines] == ["x", "x2"]


def test_labels_of_eleven_runs_at_one_point_stay_apart_and_inside_the_panel() -> None:
    runs = [
        finals().iloc[[0]].assign(run_id=name, method=name) for name in list(theme.METHODS)[:11]
    ]
    figure = charts.knowledge_against_utility(of_two_models(pd.concat(runs)), steps(), 0.9)
    for axis in ("y", "y2"):
        heights = sorted(y for on, y, _ in labels(figure) if on == axis)
        low, high = figure.layout["yaxis" if axis == "y" else "yaxis2"].range
        assert len(heights) == 11
        assert low < heights[0]
        assert heights[-1] < high
        room = (figure.layout.height / 2 - 92) / (high - low)  # pixels of one unit
        assert min(b - a for a, b in pairwise(heights)) * room > 17


def test_a_choice_has_the_rate_of_guessing_drawn() -> None:
    def said(rate: object) -> bool:
        rows = finals().assign(guess_rate=rate)
        figure = charts.knowledge_against_utility(rows, steps(), 0.9)
        return "guessing: 25%" in [note.text for note in figure.layout.annotations]

    assert said(0.25)
    assert not said([0.1, 0.25])


def test_utility_has_a_row_of_panels_for_each_model_and_one_legend_entry_a_method() -> None:
    figure = charts.utility_curves(of_two_models(curves()), "step")
    titles = [axis.title.text for axis in figure.select_yaxes()]
    assert titles == ["tiny", "large"]
    named = [trace.name for trace in figure.data if trace.showlegend]
    assert named == ["Base model", "GA"]


def luminance(color: str) -> float:
    """Relative luminance of a hex colour, as WCAG defines it."""
    return float(np.dot(linear(color), [0.2126, 0.7152, 0.0722]))


def linear(color: str) -> np.ndarray:
    """Linear RGB of a hex colour, each in [0, 1]."""
    parts = np.array([int(color[start : start + 2], 16) / 255 for start in (1, 3, 5)])
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


@pytest.mark.parametrize("name", list(theme.METHODS))
def test_a_methods_colour_stands_out_on_both_backgrounds(name: str) -> None:
    drawn = luminance(theme.METHODS[name].color) + 0.05
    assert 1.05 / drawn >= 3
    assert drawn / (luminance("#10151D") + 0.05) >= 3


# Machado et al. 2009, full protanopia and deuteranopia, on linear RGB
MISSING_CONES = {
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
               [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
               [-0.011820, 0.042940, 0.968881]],
}  # fmt: skip


@pytest.mark.parametrize("kind", list(MISSING_CONES))
def test_methods_are_told_apart_by_colour_or_marker_without_red_or_green(kind: str) -> None:
    def lab(color: str) -> np.ndarray:
        rgb = np.clip(np.array(MISSING_CONES[kind]) @ linear(color), 0, 1)
        xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722],
                        [0.0193, 0.1192, 0.9505]]) @ rgb  # fmt: skip
        x, y, z = np.cbrt(xyz / [0.9505, 1.0, 1.089])
        return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])

    runs = [style for name, style in theme.METHODS.items() if name != "difference"]
    for one, other in combinations(runs, 2):
        apart = float(np.linalg.norm(lab(one.color) - lab(other.color)))
        assert one.symbol != other.symbol or apart > 25, (one.label, other.label, apart)


def test_every_marker_has_the_same_shape_in_tables() -> None:
    style = (Path(theme.__file__).parent / "style.css").read_text(encoding="utf-8")
    symbols = {theme.method(name).symbol for name in [*theme.METHODS, "unheard of"]} - {"square"}
    assert [symbol for symbol in symbols if f".u-{symbol} {{" not in style] == []


def test_shares_of_a_loss_are_one_bar_a_run_at_its_last_step() -> None:
    rows = pd.DataFrame(
        [
            {"run_id": "r", "model": "m", "method": "ga", "step": step, "answer_class": name,
             "share": share, "token_share": 0.5, "tokens": 120, "pushed": "answers",
             "change_forget": -1.0, "change_retain": 0.0, "change_general": float("nan")}
            for step, fact in ((5, 0.2), (10, 0.6))
            for name, share in (("fact", fact), ("function", 1 - fact))
        ]
    )  # fmt: skip
    figure = charts.penalty_shares(rows)
    drawn = {bar.name: list(bar.x) for bar in figure.data if bar.x is not None and len(bar.x)}
    assert drawn == {"Fact words": [0.6], "Function words": [0.4]}
    assert "n = 120 tokens of the answers" in figure.data[0].hovertext[0]
    assert "GA 60%" in figure.layout.meta["alt"].replace(" %", "%")
