"""MUSE-Books: novels to unlearn, questions about them to ask.

A series of novels is unlearned, texts about it are retained; wording and knowledge are probed:
passages to continue, and questions.

Source: Shi et al. 2024, arXiv:2407.06460; data: hub id muse-bench/MUSE-Books.
Needs: the hub, or a folder laid out like that repository as benchmark.path.
Differs: an answer is correct by its fact words; texts are cut into pieces of words, not of 2048
tokens; for a model that is trained here, the corpus holds the questions too. Tables not read, and
why: `engine/benchmarks/sources/muse_texts.py`.
"""

from __future__ import annotations

from engine.benchmarks.benchmark import Benchmark
from engine.benchmarks.sources import muse_texts
from engine.benchmarks.sources.hub_tables import Source

NAME = "muse-books"
TABLES = muse_texts.TABLES


def load(
    path: str = "muse-bench/MUSE-Books",
    *,
    in_context: int = 10,
    verbmem: bool = True,
    words_per_text: int = 100,
    measured_texts: int = 40,
    revision: str | None = None,
    limit: int | None = None,
    seed: int = 7,
) -> Benchmark:
    """Read the benchmark; see `muse_texts`.

    Args:
        path: a folder in the hub's layout, or an id on the hub.
        in_context: solved examples before each question; 0 asks the bare question.
        verbmem: ask for the continuation of passages to be forgotten as well.
        words_per_text: raw texts are cut into pieces of so many words, which must fit a model.
        measured_texts: pieces of held-out text whose perplexity is measured.
        revision: branch, tag or commit of a hub id.
        limit: ask at most so many questions (and keep so many texts) of each split; None: all.
        seed: of every draw.

    Raises:
        DataError: if the data are not there, lack a column, or hold fewer solved examples.
    """
    choice = muse_texts.Choice(in_context, verbmem, words_per_text, measured_texts, limit, seed)
    return muse_texts.make(Source(NAME, path, revision), choice)
