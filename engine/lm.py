"""LM = model + tokenizer + prompt format: load, encode, generate, save."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from engine import prompts
from engine.decoding import Job, complete
from engine.prompts import Prompt, PromptFormat
from results_db.records import AnswerClass

if TYPE_CHECKING:  # importing transformers takes seconds; commands that load no model do without
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

FORMAT_FILE = "prompt_format.json"
NOTE_FILE = "checkpoint.json"  # in a folder of the cache, about a model that was made elsewhere


class ModelLoadError(OSError):
    """A folder does not hold a model that can be loaded."""


@dataclass
class LM:
    """A causal language model with everything needed to ask it something."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    prompt_format: PromptFormat

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return torch.device(self.model.device)

    def encode_prompt(self, question: str) -> Prompt:
        """The question in its template, as ids; see `prompts.encode_prompt`."""
        return prompts.encode_prompt(self.tokenizer, self.prompt_format, question)

    def encode_answer(self, answer: str) -> tuple[int, ...]:
        """The answer's ids, without an end token."""
        return prompts.encode_answer(self.tokenizer, self.prompt_format, answer)

    def novel_positions(self, question: str, answer: str) -> tuple[int, ...]:
        """Positions of answer tokens whose word the question does not have."""
        return prompts.novel_positions(self.tokenizer, self.prompt_format, question, answer)

    def answer_words(self, answer: str, positions: Sequence[int]) -> int:
        """How many words of an answer the tokens at these positions are parts of."""
        return prompts.answer_words(self.tokenizer, self.prompt_format, answer, positions)

    def token_id(self, text: str) -> int:
        """The id of a text that is one token; see `prompts.token_id`."""
        return prompts.token_id(self.tokenizer, text)

    def fact_positions(self, answer: str, facts: Sequence[str]) -> tuple[int, ...]:
        """Positions of answer tokens that are part of a fact."""
        return prompts.fact_positions(self.tokenizer, self.prompt_format, answer, facts)

    def answer_classes(
        self, answer: str, facts: Sequence[str], keywords: Sequence[str]
    ) -> tuple[AnswerClass, ...]:
        """The class of each answer token, the end token last."""
        return prompts.answer_classes(self.tokenizer, self.prompt_format, answer, facts, keywords)

    def clone(self) -> LM:
        """The same weights in a second model; tokenizer and format are shared."""
        return LM(copy.deepcopy(self.model), self.tokenizer, self.prompt_format)


@dataclass(frozen=True)
class Generation:
    """A greedy answer."""

    text: str
    ids: tuple[int, ...]  # without the end token


def load(folder: Path, device: str = "cpu") -> LM:
    """Load a folder written by `save`, or another model's; a chat model is asked by its template.

    A folder that notes a checkpoint from elsewhere gives that one, see checkpoints.py.

    Raises:
        PromptError: if a chat template cannot be used.
        ModelLoadError: if the folder is missing or does not hold a model; never asks a hub.
    """
    if (folder / NOTE_FILE).is_file():
        from engine import checkpoints

        return checkpoints.load(folder, device)
    if not (folder / "config.json").is_file():
        raise ModelLoadError(f"{folder}: no config.json there, so no model to load")
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

    quieten()
    try:
        model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True)
        # not AutoTokenizer: on a Qwen2 folder it would put in another pre-tokenizer
        tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # safetensors and tokenizers raise types of their own
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelLoadError(f"{folder}: cannot be loaded as a model: {reason}") from error
    return LM(model.to(device).eval(), tokenizer, _read_format(folder, tokenizer))


def save(lm: LM, folder: Path, weights: dict[str, Tensor] | None = None) -> None:
    """Write weights (the model's own if None), tokenizer and prompt format to a folder."""
    quieten()
    # a copy: names that share one weight are taken out of what is given
    lm.model.save_pretrained(folder, state_dict=None if weights is None else dict(weights))
    lm.tokenizer.save_pretrained(folder)
    (folder / FORMAT_FILE).write_text(json.dumps(asdict(lm.prompt_format)), encoding="utf-8")


def _read_format(folder: Path, tokenizer: PreTrainedTokenizerFast) -> PromptFormat:
    """Our own file, else the tokenizer's chat template, else plain words."""
    path = folder / FORMAT_FILE
    if path.is_file():
        return PromptFormat(**json.loads(path.read_text(encoding="utf-8")))
    plain = PromptFormat(prefix="Question: ", suffix="\nAnswer:", answer_prefix=" ")
    return prompts.chat_format(tokenizer) or plain


def quieten() -> None:
    """Stop transformers from drawing progress bars, which would tear our own."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()


def weight_hash(model: PreTrainedModel, weights: dict[str, Tensor] | None = None) -> str:
    """SHA-256 over names, shapes and bytes of weights (the model's own if None), 16 hex digits."""
    digest = hashlib.sha256()
    for name, weight in sorted((model.state_dict() if weights is None else weights).items()):
        digest.update(f"{name}{tuple(weight.shape)}{weight.dtype}".encode())
        digest.update(weight.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def generate(
    lm: LM, prompt_ids: Sequence[Sequence[int]], max_new_tokens: int, tokens_per_batch: int
) -> list[Generation]:
    """Greedy answers, in the order of the prompts; see `decoding.complete`.

    Args:
        lm: the model to ask.
        prompt_ids: encoded prompts, BOS and template included.
        max_new_tokens: at which an answer is cut.
        tokens_per_batch: bound on rows times (prompt + new tokens).
    """
    jobs = [Job(tuple(ids)) for ids in prompt_ids]
    found = complete(lm, jobs, max_new_tokens, tokens_per_batch)
    return [Generation(decode(lm, one.ids), one.ids) for one in found]


def decode(lm: LM, ids: Sequence[int]) -> str:
    """The text of an answer's ids."""
    return str(lm.tokenizer.decode(list(ids), skip_special_tokens=True)).strip()
