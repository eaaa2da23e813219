"""One colour, marker and label per method, strategy and arm, the same on every page.

Every colour has at least 3:1 contrast on the light and on the dark background, so a figure need not
know which of the two it is shown on.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass

import pandas as pd

from dashboard.look import formats

NEUTRAL = "#7D8590"
ACCENT = "#3F74E8"  # of what belongs to no unlearning method
POSITIVE = "31, 127, 196"  # RGB of blue: the token supports the answer
NEGATIVE = "213, 94, 0"  # RGB of vermilion: the token works against it
LEAST_LIMIT = 0.05  # nats; smaller contributions are noise and stay pale
MAX_ALPHA = 0.62  # text stays above 4.5:1 on the strongest shade in both themes
WARNING = "#D55E00"
REFERENCE_ARMS = ("none", "retrain", "sham")


@dataclass(frozen=True)
class Style:
    """How a method is drawn and called."""

    label: str
    name: str  # in full
    color: str
    dash: str = "solid"
    symbol: str = "circle"


# Hue tells the family (ascent warm, preference blue, references grey), the marker what keeps the
# rest: circle nothing, triangle up descent, triangle down KL. Together they tell all apart without
# colour vision.
METHODS = {
    "none": Style("Base model", "the model before unlearning", "#858C96", "dot", "square"),
    "retrain": Style(
        "Retain model", "trained without the facts to forget", "#6F7884", "dash", "diamond"
    ),
    "sham": Style("Sham", "the same steps on retain data only", "#8E8A80", "dashdot", "hexagon"),
    "ga": Style("GA", "gradient ascent", "#D55E00", symbol="circle"),
    "ga_gdr": Style(
        "GA-GDR", "gradient ascent + descent on retain data", "#B07D12", symbol="triangle-up"
    ),
    "ga_klr": Style(
        "GA-KLR", "gradient ascent + KL on retain data", "#9C5A3C", symbol="triangle-down"
    ),
    "npo": Style("NPO", "negative preference optimisation", "#5B6EE1", symbol="circle"),
    "npo_gdr": Style("NPO-GDR", "NPO + descent on retain data", "#1F7FC4", symbol="triangle-up"),
    "npo_klr": Style("NPO-KLR", "NPO + KL on retain data", "#0F8FA3", symbol="triangle-down"),
    "simnpo": Style("SimNPO", "NPO without a reference model", "#7A8A1E", symbol="triangle-right"),
    "idk_nll": Style("IDK-NLL", "fine-tuned on refusals", "#B4577A", symbol="cross"),
    "idk_dpo": Style("IDK-DPO", "refusals preferred to answers", "#C2477F", symbol="x"),
    "undial": Style("UNDIAL", "self-distillation on lowered logits", "#5F8F3A", symbol="hourglass"),
    "alt_po": Style(
        "AltPO", "invented answers preferred to answers", "#8A4FA3", symbol="diamond-tall"
    ),
    "wga": Style("WGA", "ascent weighted by likelihood", "#C8781E", symbol="triangle-left"),
    "satimp": Style("SatImp", "ascent weighted by two powers", "#A8641F", symbol="star-diamond"),
    "ceu": Style("CE-U", "own distribution without the answer", "#4F8A5B", symbol="bowtie"),
    "pdu": Style("PDU", "flat logits within a retain bound", "#3F7F86", symbol="octagon"),
    "rmu": Style("RMU", "representation misdirection", "#A45BBF", symbol="pentagon"),
    "task_vector": Style("Task vector", "negated task vector", "#1B9E77", symbol="star"),
    "difference": Style("After − before", "difference of two models", NEUTRAL),
}
SPARE_COLORS = ("#B5623B", "#3C87A8", "#8C6BC8", "#5F8F3A", "#C0507A", "#4C79D0")

STRATEGIES = {
    "any": "Any emphasis",
    "quote": "Quotation marks",
    "capitals": "Capitals",
    "repeat": "KeyTokens repeated",
    "word_list": "List of KeyTokens",
    "note_before": "Note before",
    "note_after": "Note after",
    "definition": "Define first",
    "attention_bias": "Attention bias",
    "guidance": "Guidance",
    "question_twice": "Question twice",
    "paraphrase": "Paraphrase",
    "answer_prefix": "Answer begun",
    "in_context": "Examples before",
    "multiple_choice": "Multiple choice",
    "quantize_rtn_8bit": "Rounded to 8 bits",
    "quantize_rtn_4bit": "Rounded to 4 bits",
    "relearn": "Relearning",
    "resample": "Plain prompt, drawn",
}
RUNGS = {  # of the recovery ladder, weakest means first
    1: "Wording",
    2: "Inside the model",
    3: "Another prompt",
    4: "Changed weights",
}
ARMS = {
    "plain": "Plain prompt",
    "treatment": "KeyTokens emphasised",
    "placebo": "Placebo, one for each strategy",
    "placebo_same": "Placebo: other words of the prompt",
    "placebo_foreign": "Placebo: KeyTokens of another question",
    "placebo_format": "Placebo: a neutral word",
    "resample": "Plain prompt, drawn at a temperature",
}
PLACEBOS = {
    "placebo_same": "same prompt",
    "placebo_foreign": "other question",
    "placebo_format": "neutral word",
}
SPLITS = {"forget": "Forget", "retain": "Retain", "holdout": "Holdout", "general": "General"}
OUTCOMES = {
    "all": "All",
    "forgotten": "Forgotten by a run",
    "recovered": "Recovered in a run",
    "kept": "Kept by every run",
}
TARGETS = {
    "gold": "Gold answer",
    "own_generation": "Own answer",
}
ANSWER_TOKENS = {"novel": "Words not in the prompt", "all": "All words"}
ATTRIBUTIONS = {
    "leave_one_out": "Leave one out",
    "integrated_gradients": "Integrated gradients",
}
MEASURES = {
    "rank_correlation": "Rank correlation",
    "top_3_overlap": "Top 3 kept",
    "key_tokens_kept": "KeyTokens kept",
}
METRICS = {  # whose names are not words
    "nll": "NLL", "logprob": "log p", "rouge_l_recall": "ROUGE-L recall",
    "rouge_1_recall": "ROUGE-1 recall", "rouge_l_f1": "ROUGE-L F1",
    "probability_ou": "Probability (OU)", "truth_ratio_ou": "Truth ratio (OU)",
    "truth_ratio_ou_prob_mean": "Truth ratio (OU, prob_mean)",
    "probability_w_options_ou": "Probability among options (OU)",
    "extraction_strength_ou": "Extraction strength (OU)",
    "probability_without_end": "Probability without the end token (ours)",
    "ratio": "Truth ratio without the end token (ours)",
    "acc_harness": "acc (harness)", "acc_norm_harness": "acc_norm (harness)",
    "letters_harness": "Letters (harness)",
    "letters_five_shot_harness": "Letters, 5-shot (harness)",
    "probability_paraphrased_answer_ou": "Probability, answer in other words (OU)",
    "fluency_own": "Fluency (ours)", "clean_probability_ou": "Clean by a classifier (OU)",
    "mia_loss_ou": "Loss (OU)", "mia_zlib_ou": "Loss by zlib (OU)", "mia_min_k_ou": "Min-k (OU)",
    "mia_min_k_plus_plus_ou": "Min-k++ (OU)", "mia_gradnorm_ou": "Gradient norm (OU)",
}  # fmt: skip
CHECKS = {  # of an attribution: heading, unit
    "deletion_gap": ("Deleting the top tokens, beyond random ones", "nats"),
    "rank_agreement": ("Rank agreement with the other method", ""),
    "replace_agreement": ("Rank agreement, delete and replace", ""),
    "completeness_gap": ("Completeness gap", "nats"),
}
TOKEN_CLASSES = {
    "keyword": "Keyword",
    "content": "Content",
    "function": "Function",
    "punctuation": "Punct.",
    "template": "Template",
}
TEMPLATE_PARTS = {  # what leave-one-out deletes at once of the text around a question
    "system": "turns before the question",
    "role": "markers of the question's turn",
    "generation": "what stands behind the question",
}
VERDICTS = {
    "insufficient": "bad",
    "destructive": "bad",
    "insufficient and destructive": "bad",
    "holds": "good",
    "not enough evidence": "open",
}


def readable(name: str) -> str:
    """A name from data with spaces for underscores and a capital first letter.

    >>> readable("note_after")
    'Note after'
    """
    return name.replace("_", " ").strip().capitalize() or name


def method(name: str) -> Style:
    """The style of a method; one that is not listed gets a colour by its name, always the same."""
    known = METHODS.get(name)
    spare = SPARE_COLORS[zlib.crc32(name.encode()) % len(SPARE_COLORS)]
    return known or Style(readable(name), readable(name), spare, symbol="x")


def method_label(name: str) -> str:
    """Short label of a method."""
    return method(name).label


def strategy_label(name: str) -> str:
    """Label of a recovery strategy."""
    return STRATEGIES.get(name, readable(name))


def rung_label(rung: int) -> str:
    """Label of a rung of the recovery ladder."""
    return RUNGS.get(int(rung), f"Rung {int(rung)}")


def arm_label(name: str) -> str:
    """Label of a treatment or placebo."""
    return ARMS.get(name, readable(name))


def strategies(names: set[str]) -> list[str]:
    """Strategies in the order of STRATEGIES, others after them."""
    known = [name for name in STRATEGIES if name in names]
    return known + sorted(names - set(known))


def attribution_label(name: str) -> str:
    """Label of an attribution method."""
    return ATTRIBUTIONS.get(name, readable(name))


def method_rank(name: str) -> tuple[int, str]:
    """Where a method stands in every list: references first, then as in METHODS."""
    order = list(METHODS)
    return (order.index(name) if name in order else len(order), name)


def labelled(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows in the order of methods, with a column `label` that names each run once.

    Model and benchmark are added where several are shown, then what differs between the runs of a
    sweep (the column `variant`, if there is one), the version by which an old run was measured (the
    column `measurement`), that one was made on other data (the column `other_data`), and the run's
    id where a label would still be shared.
    """
    runs = rows.drop_duplicates("run_id")
    if "variant" not in runs:
        runs = runs.assign(variant=None)
    labels = runs["method"].map(method_label)
    for name in ("model", "benchmark"):
        if name in runs and runs[name].nunique() > 1:
            labels = labels + " · " + runs[name].astype(str)
    differs = labels.duplicated(keep=False) & runs["variant"].notna()
    labels = labels.where(~differs, labels + " · " + runs["variant"].astype(str))
    if "measurement" in runs:
        labels = labels + runs["measurement"].map(formats.measured_by)
    if "other_data" in runs:
        labels = labels + runs.apply(formats.on_other_data, axis=1)
    labels = told_apart(labels.map(formats.visible), runs["run_id"])
    names, order = dict(zip(runs["run_id"], labels, strict=True)), _order(runs["method"], labels)
    places = {run_id: place for place, run_id in enumerate(runs["run_id"].iloc[order])}
    rows = rows.iloc[rows["run_id"].map(places).argsort(kind="stable")]
    return rows.drop(columns="variant", errors="ignore").assign(label=rows["run_id"].map(names))


def _order(methods: pd.Series, labels: pd.Series) -> list[int]:
    """Places of runs in the order of methods, those of one method by label."""
    ranks = [(*method_rank(name), label) for name, label in zip(methods, labels, strict=True)]
    return sorted(range(len(ranks)), key=ranks.__getitem__)


def by_model(rows: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """The labelled rows of each model, in the order models come in; labels leave the model out."""
    return [(str(model), labelled(part)) for model, part in rows.groupby("model", sort=False)]


def told_apart(labels: pd.Series, ids: pd.Series) -> pd.Series:
    """The labels, with the beginning of its id after each that several share."""
    shared = labels.duplicated(keep=False)
    return labels.where(~shared, labels + " · " + _short(ids.astype(str)))


def _short(ids: pd.Series) -> pd.Series:
    """The shortest beginnings, at least 4 characters, that tell ids apart."""
    length = 4
    while ids.str[:length].duplicated().any() and length < ids.str.len().max():
        length += 1
    return ids.str[:length]


def scale_limit(scores: pd.Series) -> float:
    """Where a diverging scale over all these scores ends, in nats, at least LEAST_LIMIT.

    The 95th percentile of their size, so that one outlier of a collapsed run blanks nothing out.
    """
    sizes = scores.dropna().astype(float).abs()
    return max(float(sizes.quantile(0.95)), LEAST_LIMIT) if len(sizes) else LEAST_LIMIT


def shade(score: float | None, limit: float) -> str:
    """CSS background of a score on the diverging scale: blue supports, vermilion opposes.

    Args:
        score: in nats; None for a token that was not scored.
        limit: where the scale saturates, nats, > 0.
    """
    if score is None or math.isnan(score) or not limit > 0:
        return "transparent"
    strength = min(abs(score) / limit, 1.0) * MAX_ALPHA
    return f"rgba({POSITIVE if score > 0 else NEGATIVE}, {strength:.3f})"
