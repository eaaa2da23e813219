"""Metrics of TOFU by open-unlearning's own functions, beside which ours are held.

Run with a checkout of https://github.com/locuslab/open-unlearning at d3d7cf9, where omegaconf and
scikit-learn are installed too, this writes tests/fixtures/open_unlearning_metrics.json:

    python -m tests.support.field_metrics CHECKOUT

The two small models that are asked are trained anew in double precision, from weights and in an
order that numpy draws alike everywhere. Nothing of that checkout is kept: the file holds row ids
and values.
"""

from __future__ import annotations

import importlib
import json
import sys
import types
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM
from transformers import PreTrainedTokenizerFast as Fast

from engine.benchmarks import tofu
from engine.benchmarks.benchmark import Benchmark
from engine.models.lm import LM
from engine.tasks.subject import Subject
from engine.text.prompts import PromptFormat
from results_db.records import Example
from tests.support.tofu import DATA

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"
EXPECTED = FIXTURES / "open_unlearning_metrics.json"
MODELS = ("base", "retain")  # one that read the forget answers, and one that did not
START, END = "<|start_header_id|>", "<|end_header_id|>\n\n"
TAGS = {
    "apply_chat_template": False,
    "user_start_tag": f"{START}user{END}",
    "user_end_tag": "<|eot_id|>",
    "asst_start_tag": f"{START}assistant{END}",
    "asst_end_tag": "<|eot_id|>",
}
FORMAT = PromptFormat(f"{START}user{END}", f"<|eot_id|>{START}assistant{END}", "", "", "tokenizer")
NEW_TOKENS = 200
ROUGES = {
    "rouge_1_recall": "rouge1_recall", "rouge_l_recall": "rougeL_recall", "rouge_l_f1": "rougeL_f1"
}  # fmt: skip
DTYPE = torch.float64
HELD_OUT = 20  # rows of the last retained author, which stand in for questions held out


@cache
def benchmark() -> Benchmark:
    """forget01 whole, 40 rows of retained authors, 30 and 30 general ones, 20 as if held out."""
    sizes: dict[str, Any] = {
        "forget": "forget01", "forget_authors": "all", "retain_authors": "all",
        "general_questions": 30, "questions_per_author": 20, "rows": "all",
    }  # fmt: skip
    found = tofu.load(str(DATA), **sizes)
    retained = found.rows("retain")
    unread = [replace(e, split="holdout") for e in retained[-HELD_OUT:]]
    chosen = (*found.rows("forget"), *retained[:40], *found.rows("general"), *unread)
    return Benchmark("tofu", chosen, (), "fact_words")


@cache
def lm(name: str) -> LM:
    """One of the two small models, in double precision, so that no batch changes a number."""
    examples = benchmark().rows("forget", "retain", "general")
    tokenizer = _tokenizer([f"{e.prompt} {e.answer}" for e in examples])
    read = [e for e in examples if name == "base" or e.split != "forget"]
    return LM(_trained(tokenizer, read).eval(), tokenizer, FORMAT)


def subject(name: str) -> Subject:
    """One of them as tasks see it, nothing answered yet."""
    return Subject(lm(name), benchmark(), ("r", 0), 4096, ())


# ---- the models


def _tokenizer(texts: Sequence[str]) -> Fast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|pad|>", "<|eot_id|>", START, "<|end_header_id|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return Fast(tokenizer_object=tokenizer, pad_token="<|pad|>", eos_token="<|eot_id|>")


def _trained(tokenizer: Fast, examples: Sequence[Example]) -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=40, intermediate_size=80, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=4, max_position_embeddings=1024,
        tie_word_embeddings=True, pad_token_id=0, eos_token_id=1, bos_token_id=None,
    )  # fmt: skip
    model = _drawn(LlamaForCausalLM(config).to(DTYPE))
    asked = LM(model, tokenizer, FORMAT)
    optimizer = torch.optim.AdamW(model.parameters(), lr=6e-3)
    for epoch in range(14):
        order = np.random.default_rng(epoch).permutation(len(examples)).tolist()
        for rows in (order[first : first + 8] for first in range(0, len(order), 8)):
            optimizer.zero_grad()
            for row in rows:
                pair = asked.encode_pair(examples[row].prompt, examples[row].answer)
                ids = torch.tensor([[*pair.prompt_ids, *pair.answer_ids, 1]])
                labels = ids.clone()
                labels[:, : len(pair.prompt_ids)] = -100
                (model(ids, labels=labels).loss / len(rows)).backward()
            optimizer.step()
    return model


def _drawn(model: LlamaForCausalLM) -> LlamaForCausalLM:
    """Draw every matrix anew, uniformly with a standard deviation of 0.02."""
    drawn = np.random.default_rng(0)
    with torch.no_grad():
        for _, weight in sorted(model.named_parameters()):
            if weight.dim() > 1:
                weight.copy_(torch.from_numpy(drawn.uniform(-1, 1, weight.shape) * 0.02 * 3**0.5))
    return model


# ---- what the other project's functions say of them


def row_of(example: Example) -> tuple[str, int]:
    """The table of an example, and its row there."""
    table, *parts = example.example_id.split("-")
    numbers = [int(part[1:]) for part in parts]
    row = numbers[0] * 20 + numbers[1] if len(numbers) == 2 else numbers[0]
    return f"{table}_perturbed", row


def _functions(checkout: Path) -> types.ModuleType:
    """Its metrics, without the evaluators that need more packages."""
    sys.path.insert(0, str(checkout / "src"))
    package = types.ModuleType("evals")
    package.__path__ = [str(checkout / "src" / "evals")]
    sys.modules["evals"] = package
    return importlib.import_module("evals.metrics")


class _Asked:
    """One model as its functions see it."""

    def __init__(self, metrics: types.ModuleType, name: str) -> None:
        self.metrics, self.lm = metrics, lm(name)
        self.data = importlib.import_module("data")
        self.tokenizer = self.lm.tokenizer

    def rows(self, examples: Sequence[Example], answer: str, *, generate: bool = False) -> Any:  # noqa: ANN401
        (table,) = {row_of(example)[0] for example in examples}
        whole = self.data.QADataset(
            {"path": str(DATA), "name": table, "split": "train"}, TAGS, self.tokenizer,
            answer_key=answer, predict_with_generate=generate,
        )  # fmt: skip
        return torch.utils.data.Subset(whole, [row_of(example)[1] for example in examples])

    def collator(self, side: str) -> Any:  # noqa: ANN401
        return self.data.DataCollatorForSupervisedDataset(self.tokenizer, side, index="index")

    def metric(self, name: str, data: object, side: str = "right", **settings: object) -> Any:  # noqa: ANN401
        function = vars(self.metrics)["METRICS_REGISTRY"][name]._metric_fn
        return function(
            self.lm.model, data=data, collators=self.collator(side), batch_size=8,
            tokenizer=self.tokenizer, **settings,
        )  # fmt: skip

    def rouge(self, examples: Sequence[Example]) -> Any:  # noqa: ANN401
        omegaconf = importlib.import_module("omegaconf")
        how = omegaconf.OmegaConf.create({"do_sample": False, "max_new_tokens": NEW_TOKENS})
        data = self.rows(examples, "answer", generate=True)
        return self.metric("rouge", data, "left", rouge_type="rougeL_recall", generation_args=how)

    def combined(self, name: str, correct: object, wrong: object, **settings: object) -> Any:  # noqa: ANN401
        function = vars(self.metrics)["METRICS_REGISTRY"][name]._metric_fn
        return function(self.lm.model, pre_compute={"correct": correct, "wrong": wrong}, **settings)


def _of(result: Mapping[str, Any], examples: Sequence[Example], key: str) -> dict[str, float]:
    by_row = result["value_by_index"]
    return {e.example_id: float(by_row[row_of(e)[1]][key]) for e in examples}


def tables(of: Benchmark) -> dict[str, tuple[Example, ...]]:
    """The examples of each table, under its short name."""
    general = of.rows("general")
    return {
        "forget": of.rows("forget"),
        "retain": of.rows("retain"),
        "ra": tuple(e for e in general if e.attribute == "real_authors"),
        "wf": tuple(e for e in general if e.attribute == "world_facts"),
    }


def measure(asked: _Asked) -> tuple[dict[str, dict[str, float]], dict[str, float], Any]:
    """Values by metric and example, aggregates, and the truth ratios of forget."""
    values: dict[str, dict[str, float]] = {}
    whole: dict[str, float] = {}
    parts, ratios = {}, None
    for name, examples in tables(benchmark()).items():
        general = name in ("ra", "wf")
        gold = asked.metric("probability", asked.rows(examples, "answer"))
        wrong = asked.metric("probability", asked.rows(examples, "perturbed_answer"))
        right = gold if general else asked.metric(
            "probability", asked.rows(examples, "paraphrased_answer"))  # fmt: skip
        aggregator = "closer_to_1_better" if name == "forget" else "true_better"
        ratio = asked.combined("truth_ratio", right, wrong, aggregator=aggregator)
        mean = asked.combined("truth_ratio", right, wrong, aggregator="prob_mean")
        said = asked.rouge(examples)
        found = [("probability_ou", gold, "prob"), ("truth_ratio_ou", ratio, "score"),
                 ("truth_ratio_ou_prob_mean", mean, "score"),
                 *((ours, said, key) for ours, key in ROUGES.items())]  # fmt: skip
        whole[f"{name} truth_ratio_ou"] = float(ratio["agg_value"])
        if general:
            options = asked.combined("probability_w_options", gold, wrong)
            found.append(("probability_w_options_ou", options, "prob"))
        if name == "forget":
            ratios = ratio
            for metric in ("extraction_strength", "exact_memorization"):
                data = asked.rows(examples, "answer")
                suffix = "_ou" if metric.startswith("ext") else ""
                found.append((metric + suffix, asked.metric(metric, data), "score"))
        else:
            parts |= {f"{name} p": options if general else gold, f"{name} r": said,
                      f"{name} t": ratio}  # fmt: skip
        for metric, result, key in found:
            values.setdefault(metric, {}).update(_of(result, examples, key))
    aggregate = vars(asked.metrics)["METRICS_REGISTRY"]["hm_aggregate"]._metric_fn
    whole["model_utility_ou"] = float(aggregate(None, pre_compute=parts)["agg_value"])
    return values, whole, ratios


def membership(asked: _Asked, other: _Asked) -> tuple[dict[str, Any], dict[str, float], Any]:
    """Scores of membership by attack and example, and the AUC of each."""
    of = benchmark()
    data = {
        "forget": asked.rows(of.rows("forget"), "answer"),
        "holdout": asked.rows(of.rows("holdout"), "answer"),
    }
    mia = importlib.import_module("evals.metrics.mia")
    attacks: dict[str, tuple[Any, dict[str, Any]]] = {
        "loss": (mia.LOSSAttack, {}),
        "zlib": (mia.ZLIBAttack, {"tokenizer": asked.tokenizer}),
        "min_k": (mia.MinKProbAttack, {"k": 0.4}),
        "min_k_plus_plus": (mia.MinKPlusPlusAttack, {"k": 0.4}),
        "gradnorm": (mia.GradNormAttack, {"p": 2}),
        "reference": (mia.ReferenceAttack, {"reference_model": other.lm.model}),
    }
    values: dict[str, Any] = {}
    aucs: dict[str, float] = {}
    for name, (attack, settings) in attacks.items():
        found = mia.mia_auc(
            attack, asked.lm.model, data=data, collator=asked.collator("right"),
            batch_size=1 if name == "gradnorm" else 8, **settings,
        )  # fmt: skip
        aucs[f"auc_{name}_ou"] = float(found["auc"])
        values[f"mia_{name}_ou"] = {
            e.example_id: found[split]["value_by_index"][str(row_of(e)[1])]["score"]
            for split in ("forget", "holdout")
            for e in of.rows(split)  # type: ignore[arg-type]
        }
    return values, aucs, aucs["auc_min_k_ou"]


def main() -> None:
    """Write what its functions say; see above."""
    metrics = _functions(Path(sys.argv[1]))
    models = {name: _Asked(metrics, name) for name in MODELS}
    written: dict[str, Any] = {}
    ratios, leaks = {}, {}
    for name, asked in models.items():
        values, whole, ratios[name] = measure(asked)
        other = models["retain" if name == "base" else "base"]
        scores, aucs, leaks[name] = membership(asked, other)
        written[name] = {"values": values | scores, "whole": whole | aucs}
    registry = vars(metrics)["METRICS_REGISTRY"]
    quality = registry["ks_test"]._metric_fn(
        None, pre_compute={"forget": ratios["base"]},
        reference_logs={"retain_model_logs": {"retain": ratios["retain"]}},
    )  # fmt: skip
    leak = registry["privleak"]._metric_fn(
        None, pre_compute={"forget": {"agg_value": leaks["base"]}},
        reference_logs={"retain_model_logs": {"retain": {"agg_value": leaks["retain"]}}},
    )  # fmt: skip
    written["base"]["whole"]["forget_quality_ou"] = float(quality["agg_value"])
    written["base"]["whole"]["privleak_min_k_ou"] = float(leak["agg_value"])
    EXPECTED.write_text(json.dumps(written, indent=0) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
