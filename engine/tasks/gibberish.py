"""How surely a classifier calls the model's own answers to forget questions clean.

clean_probability_ou = softmax of the classifier's logits at class `class_id`, of one answer cut to
`max_length` tokens of the classifier; in [0, 1], higher is cleaner. Greedy answers of at most
max_new_tokens tokens, those of the task open_unlearning.
Source: Dorna et al. 2025, arXiv:2506.12618 (Forget Fluency; `classifier_prob` of its code at
d3d7cf9), whose classifier is madhurjindal/autonlp-Gibberish-Detector-492513457, class 0 "clean",
32 tokens on TOFU and 512 on MUSE.
Needs: a folder with such a classifier; none is fetched. Another classifier gives another number.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.benchmarks.benchmark import Benchmark
from engine.tasks import open_unlearning
from engine.tasks.subject import TOO_LONG, Metric, Reading, Subject
from results_db.records import Utility

NAME = "gibberish"
METRIC = Metric(NAME, "clean_probability_ou", "fraction", higher_is_better=True)
NO_CLASSIFIER = "no classifier was given: probe.tasks.gibberish.classifier names its folder"
BATCH = 32  # answers read at once


class ClassifierError(ValueError):
    """A folder that holds no classifier that can be read."""


@dataclass(frozen=True)
class Task:
    """classifier: its folder, empty: none; class_id: of clean text; max_length: in its tokens."""

    classifier: str = ""
    class_id: int = 0
    max_length: int = 32
    max_new_tokens: int = 200

    def readings(self, benchmark: Benchmark) -> Iterator[Reading]:
        """Answers to all questions; what the classifier reads is not counted."""
        if self.classifier:
            yield from open_unlearning.answer_readings(benchmark, self.max_new_tokens)

    def measure(self, subject: Subject) -> Iterator[Utility]:
        """One row a forget question that is answered in words."""
        if not self.classifier:
            yield from subject.missing(METRIC, NO_CLASSIFIER)
            return
        said = open_unlearning.answers(subject, self.max_new_tokens)
        asked = [
            example.example_id
            for example in subject.benchmark.rows("forget")
            if example.correct_rule != "multiple_choice"
        ]
        texts = {name: said[name] for name in asked if name in said}
        values = dict(zip(texts, self.clean(list(texts.values())), strict=True))
        for name in asked:
            found = values.get(name)
            yield subject.row(METRIC, name, found, TOO_LONG if found is None else None)

    def clean(self, texts: Sequence[str]) -> list[float]:
        """Probability of the clean class for each text, on the CPU.

        Raises:
            ClassifierError: the folder holds no such classifier, or has no such class.
        """
        import torch

        tokenizer, model = self._loaded()
        found: list[float] = []
        for first in range(0, len(texts), BATCH):
            inputs = tokenizer(
                list(texts[first : first + BATCH]), return_tensors="pt", padding=True,
                truncation=True, max_length=self.max_length,
            )  # fmt: skip
            with torch.no_grad():
                logits = model(**inputs).logits.double()
            found += torch.softmax(logits, dim=-1)[:, self.class_id].tolist()
        return found

    def _loaded(self) -> tuple[Any, Any]:
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        folder = Path(self.classifier)
        if not (folder / "config.json").is_file():
            raise ClassifierError(f"gibberish: {folder}: no folder of a classifier (config.json)")
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            model = AutoModelForSequenceClassification.from_pretrained(
                folder, local_files_only=True, use_safetensors=True
            )
        except (OSError, ValueError) as error:
            said = str(error).splitlines()[0]
            raise ClassifierError(f"gibberish: {folder}: {said}") from error
        if not 0 <= self.class_id < model.config.num_labels:
            raise ClassifierError(
                f"gibberish: class_id is {self.class_id}, {folder} has {model.config.num_labels}"
                " classes, from 0"
            )
        return tokenizer, model.eval()
