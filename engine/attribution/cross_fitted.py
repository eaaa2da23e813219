"""KeyTokens chosen on a paraphrase and scored on the original wording.

A token that was chosen because noise made its score large is not scored with the same noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from engine.text.prompts import Prompt
from engine.text.words import bare_words
from results_db.records import Example


def paraphrased(example: Example) -> Example | None:
    """The question in its first other wording; None where it has none."""
    if not example.question_paraphrases:
        return None
    return replace(example, prompt=example.question_paraphrases[0], keywords=())


def marks(prompt: Prompt, words: Sequence[str]) -> tuple[bool, ...]:
    """Which tokens of a question belong to one of these words, in any case; one flag a token.

    Args:
        prompt: the original wording.
        words: of the paraphrase; those that the question does not have mark nothing.
    """
    wanted = {word.casefold() for word in words}
    own = [word.casefold() in wanted for word in bare_words(prompt.question)]
    return tuple(word is not None and own[word] for word in prompt.words)
