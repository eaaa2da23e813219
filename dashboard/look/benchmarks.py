"""What each benchmark asks and when an answer is right, in a sentence each."""

from __future__ import annotations

import pandas as pd

from dashboard.look import formats

FORMS = {
    "bios-qa": "Questions about invented people are unlearned, and asked.",
    "bios-docs": "Documents about invented people are unlearned; questions about them are asked.",
    "bios-mc": "Documents about invented people are unlearned; facts are probed as a choice.",
    "tofu": "Questions about invented authors are unlearned, and asked.",
    "muse-news": "News articles are unlearned; questions and passages are probed.",
    "muse-books": "Novels are unlearned; questions and passages are probed.",
    "wmdp": "Texts on hazardous knowledge are unlearned; it is probed as a choice, beside MMLU.",
    "world-facts": "Facts of the world that a model knew are unlearned, and asked.",
    "custom": "Questions of a user's own file are unlearned, and asked.",
}
SPLITS = ("forget", "retain", "general")
RULES = {
    "contains_fact": "An answer is correct when it contains the fact.",
    "fact_words": "An answer is correct when it contains at least half of the words of the fact.",
}


def description(name: str, rules: pd.DataFrame) -> str:
    """What a benchmark asks and when an answer is right.

    Args:
        name: of the benchmark.
        rules: rows of `benchmark`.
    """
    parts = [FORMS.get(name, ""), *(_rule(row) for row in rules.to_dict("records"))]
    return " ".join(part for part in parts if part)


def _rule(row: dict[str, float]) -> str:
    rule = str(row["correct_rule"])
    if rule != "multiple_choice":
        return f"{RULES.get(rule, '')} {_judged(row)}".strip()
    return (
        f"An answer is correct when the model finds it the likeliest of {row['options']:.0f} "
        f"options: guessing is right in {formats.percent(row['guess_rate'])}."
    )


def _judged(row: dict[str, float]) -> str:
    """Of how many questions of each split the rule can say so, where not of all."""
    parts = [
        f"{formats.count(row[f'{split}_judged'])} of {formats.count(row[split])} {split}"
        for split in SPLITS
        if row[split]
    ]
    if all(row[f"{split}_judged"] == row[split] for split in SPLITS):
        return ""
    return (
        f"That can be said of {', '.join(parts)} questions; the others are in no figure of correct "
        "answers or recovery, but in every metric of other papers."
    )
