"""Long lists for a sortable, searchable grid: readable column names, one row a fact.

The grid draws text on a canvas, so nothing that comes from data is taken for markup there.
"""

from __future__ import annotations

import pandas as pd

from dashboard.look import formats, theme
from dashboard.markup import tables


def attempts(rows: pd.DataFrame) -> pd.DataFrame:
    """Answers to read: question, plain answer, prompt used, answer to it.

    Args:
        rows: of `recovery_attempts`.
    """
    rows = theme.labelled(rows)
    return pd.DataFrame(
        {
            "Run": rows["label"],
            "Strategy": rows["strategy"].map(theme.strategy_label),
            "Arm": rows["arm"].map(theme.arm_label),
            "Words": [", ".join(words) for words in rows["words"]],
            "Question": rows["question"],
            "Plain answer": rows["plain_answer"],
            "Prompt used": rows["prompt"],
            "Answer to it": rows["text"],
            "Correct": [outcome(value) for value in rows["correct"]],
            "Gold answer": rows["gold"],
            "log p plain": rows["plain_logprob"],
            "log p": rows["logprob"],
            "Example": rows["example_id"],
        }
    )


def rates(rows: pd.DataFrame) -> pd.DataFrame:
    """Every rate of the ladder with what it rests on, strongest means last.

    Args:
        rows: of `recovery_rates`.
    """
    rows = theme.labelled(rows)
    return pd.DataFrame(
        {
            "Run": rows["label"],
            "Rung": [
                theme.rung_label(rung) if formats.present(rung) else "" for rung in rows["rung"]
            ],
            "Strategy": rows["strategy"].map(theme.strategy_label),
            "Arm": rows["arm"].map(theme.arm_label),
            "Correct": rows["residual"].astype(float),
            "Low": rows["residual_low"].astype(float),
            "High": rows["residual_high"].astype(float),
            "n": rows["n"],
            "Groups": rows["groups"],
            "Retain model": rows["never_residual"].astype(float),
            "Guess rate": rows["guess_rate"].astype(float),
            "Not built": rows["not_built"],
            "Settings": [formats.settings(text) for text in rows["settings"]],
        }
    )


def effect_tests(rows: pd.DataFrame) -> pd.DataFrame:
    """Effect of each strategy on each run, beside what chance alone would give.

    Args:
        rows: of `effect_tests`.
    """
    rows = theme.labelled(rows)
    places = {name: place for place, name in enumerate(theme.strategies(set(rows["strategy"])))}
    rows = rows.iloc[rows["strategy"].map(places).argsort(kind="stable")]
    points = {
        name: 100 * rows[name].astype(float) for name in ("effect", "effect_low", "effect_high")
    }
    return pd.DataFrame(
        {
            "Run": rows["label"],
            "Strategy": rows["strategy"].map(theme.strategy_label),
            "Net effect (pp)": points["effect"],
            "Low (pp)": points["effect_low"],
            "High (pp)": points["effect_high"],
            "p, sign flips": rows["p"].astype(float),
            "p, Holm": rows["p_holm"].astype(float),
            "p, McNemar": rows["p_mcnemar"].astype(float),
            "Gained": rows["gained"],
            "Lost": rows["lost"],
            "n": rows["n"],
            "Groups": rows["groups"],
            "Seeds": rows["seeds"],
            "Why no p": rows["reason"],
        }
    )


def reasons(rows: pd.DataFrame) -> pd.DataFrame:
    """What could not be tried, and why.

    Args:
        rows: of `recovery_reasons`.
    """
    return pd.DataFrame(
        {
            "Strategy": rows["strategy"].map(theme.strategy_label),
            "Arm": rows["arm"].map(theme.arm_label),
            "Reason": rows["reason"],
            "Attempts": rows["attempts"],
            "Runs": rows["runs"],
        }
    )


def attempts_at_example(rows: pd.DataFrame) -> pd.DataFrame:
    """All attempts at one example.

    Args:
        rows: of `example_attempts`.
    """
    rows = theme.labelled(rows)
    return pd.DataFrame(
        {
            "Run": rows["label"],
            "Strategy": rows["strategy"].map(theme.strategy_label),
            "Arm": rows["arm"].map(theme.arm_label),
            "Draw": rows["draw"],
            "Words": [", ".join(words) for words in rows["words"]],
            "Prompt used": rows["prompt"],
            "Answer": rows["text"],
            "Correct": [outcome(value) for value in rows["correct"]],
            "log p": rows["logprob"],
            "Not built because": rows["reason"],
        }
    )


def outcome(correct: object) -> str:
    """Right, wrong, or not tried."""
    if not formats.present(correct):
        return formats.MISSING
    return "✓ correct" if correct else "✗ wrong"


def penalties(rows: pd.DataFrame) -> pd.DataFrame:
    """Every measured step of every run: where the gradient goes, and what became less likely.

    Args:
        rows: of `penalty_shares`.
    """
    rows = theme.labelled(rows)
    return pd.DataFrame(
        {
            "Run": rows["label"],
            "Step": rows["step"],
            "Class": rows["answer_class"],
            "Share of gradient": rows["share"],
            "Share of tokens": rows["token_share"],
            "Δ log p forget": rows["change_forget"],
            "Δ log p retain": rows["change_retain"],
            "Δ log p general": rows["change_general"],
        }
    )


def unpushed(rows: pd.DataFrame) -> list[str]:
    """Runs whose loss pushes no token that is looked at, one line for each reason.

    Args:
        rows: of `penalty_shares`.
    """
    silent = theme.labelled(rows[rows["reason"].notna()])
    return [
        f"No share for {', '.join(dict.fromkeys(of_reason['label']))}: {reason}."
        for reason, of_reason in silent.groupby("reason", sort=False)
    ]


def attempt(row: pd.Series) -> str:
    """One attempt in full, as HTML.

    Args:
        row: of `attempts`.
    """
    names = ("Question", "Gold answer", "Plain answer", "Prompt used", "Answer to it")
    lines = [
        [f'<th scope="row">{name}</th>', tables.cell(str(row[name]), kind="u-wide")]
        for name in names
    ]
    return tables.table([str(row["Run"]), f"{row['Arm']}: {row['Correct']}"], lines)
