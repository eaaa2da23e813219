"""Training texts of questions: each wording with its answer, and emphasis around what is retained.

The corpus shows emphasis around words of *retained* questions only, and in other words than the
recovery strategies use: otherwise a "recovered" fact could be a second memorised prompt.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from engine.benchmarks.benchmark import Text
from engine.benchmarks.sources.bios_people import TRAINED_EMPHASIS
from results_db.records import Example


def question_texts(examples: Sequence[Example], rng: random.Random) -> Iterator[Text]:
    """Each question in all its wordings with its answer, and retained keywords emphasised.

    Only keywords that stand in the prompt as one run of two or more words, such as a name, are
    emphasised.
    """
    for example in examples:
        for wording in (example.prompt, *example.question_paraphrases):
            yield Text(example.split, example.group, wording, example.answer)
        name = " ".join(example.keywords)
        if example.split == "retain" and len(example.keywords) > 1 and name in example.prompt:
            marked = example.prompt.replace(name, f"'{name}'", 1)
            emphasised = rng.choice(TRAINED_EMPHASIS).format(
                words=name, question=example.prompt, marked=marked
            )
            yield Text(example.split, example.group, emphasised, example.answer)
