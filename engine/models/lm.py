"""LM = model + tokenizer + prompt format: encode, end, save."""

from __future__ import annotations

import copy
import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.models.ends import End, ends
from engine.specs import Decoding
from engine.text import answers, prompts
from engine.text.answers import EncodedPair
from engine.text.prompts import Prompt, PromptFormat
from results_db import durable

if TYPE_CHECKING:  # importing transformers takes seconds; commands that load no model do without
    import torch
    from torch import Tensor
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

    from engine.models.load_report import LoadReport

FORMAT_FILE = "prompt_format.json"
TRAINING_FILE = "training.json"  # beside trained weights: how long they took, and what was reached
CONTEXT_NAMES = ("max_position_embeddings", "max_seq_len")  # in configurations
BOUNDLESS = sys.maxsize
NOTE_FILE = "checkpoint.json"  # in a folder of the cache, about a model that was made elsewhere


@dataclass
class LM:
    """A causal language model with everything needed to ask it something."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    prompt_format: PromptFormat
    decoding: Decoding = "greedy"
    report: LoadReport | None = None  # of loading; None for a model made in memory

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        device: torch.device = self.model.device
        return device

    @property
    def config(self) -> PretrainedConfig:
        """The configuration of the part that reads text: a multimodal model's has several."""
        found: PretrainedConfig = self.model.config.get_text_config(decoder=True)
        return found

    @property
    def context(self) -> int:
        """Tokens that the model reads at most; BOUNDLESS where it has no table of positions."""
        named = (getattr(self.config, name, None) for name in CONTEXT_NAMES)
        return next((int(bound) for bound in named if bound and bound > 0), BOUNDLESS)

    def encode_prompt(self, question: str, begun: str = "") -> Prompt:
        """The question in its template, as ids, and an answer that is begun with some text."""
        begun = self.prompt_format.answer_prefix + begun if begun else ""
        return prompts.encode_prompt(self.tokenizer, self.prompt_format, question, begun)

    def encode_pair(self, question: str, answer: str, begun: str = "") -> EncodedPair:
        """A question and an answer to it, encoded as one text; see `answers.encode_pair`."""
        return answers.encode_pair(self.tokenizer, self.prompt_format, question, answer, begun)

    def encode_text(self, text: str) -> EncodedPair:
        """A text that answers nothing; see `answers.encode_text`."""
        return answers.encode_text(self.tokenizer, self.prompt_format, text)

    def generated(self, prompt: Prompt, ids: Sequence[int]) -> EncodedPair:
        """An answer by the ids that the model gave; see `answers.generated`."""
        return answers.generated(self.tokenizer, prompt, ids)

    def token_id(self, text: str) -> int:
        """The id of a text that is one token; see `prompts.token_id`."""
        return prompts.token_id(self.tokenizer, text)

    def last_token(self, text: str) -> int:
        """The id of a text's last token where it stands behind another word."""
        ids = self.tokenizer(f"a {text}", add_special_tokens=False)["input_ids"]
        return int(ids[-1])

    @cached_property
    def ends(self) -> tuple[End, ...]:
        """Every token that ends an answer, the one that is trained and scored first.

        Raises:
            PromptError: if neither tokenizer nor template has one to train and score.
        """
        configured = getattr(self.model, "generation_config", None)
        return ends(self.tokenizer, self.prompt_format, getattr(configured, "eos_token_id", None))

    @property
    def end_id(self) -> int:
        """The end that is trained and scored: the template's, else the tokenizer's."""
        return self.ends[0].id

    @property
    def end_ids(self) -> frozenset[int]:
        """All ids that end an answer which is generated."""
        return frozenset(end.id for end in self.ends)

    def clone(self) -> LM:
        """The same weights in a second model; tokenizer and format are shared."""
        return replace(self, model=copy.deepcopy(self.model))


def save(lm: LM, folder: Path, weights: Mapping[str, Tensor] | None = None) -> None:
    """Write weights (the model's own if None), tokenizer and prompt format to a folder."""
    quieten()
    # a copy: names that share one weight are taken out of what is given
    lm.model.save_pretrained(folder, state_dict=None if weights is None else dict(weights))
    lm.tokenizer.save_pretrained(folder)
    (folder / FORMAT_FILE).write_text(json.dumps(asdict(lm.prompt_format)), encoding="utf-8")


def publish(
    lm: LM,
    folder: Path,
    weights: Mapping[str, Tensor] | None = None,
    *,
    noted: Mapping[str, Any] | None = None,
) -> None:
    """Write a model as `save` does, whole or not at all, with a manifest that `load` checks.

    Args:
        lm: The model.
        folder: One that is there gives way.
        weights: The model's own if None.
        noted: Of the training, beside the weights: its `seconds`, what was reached; None: nothing.

    Raises:
        NoSpaceError, NotWritableError: See results_db/durable.py.
    """

    def fill(staging: Path) -> None:
        save(lm, staging, weights)
        if noted is not None:
            (staging / TRAINING_FILE).write_text(json.dumps(noted), encoding="utf-8")

    durable.write_folder(folder, fill, replace=True)


def weight_hash(model: PreTrainedModel, weights: Mapping[str, Tensor] | None = None) -> str:
    """SHA-256 over names, shapes and bytes of weights (the model's own if None), 16 hex digits."""
    import torch

    digest, states = hashlib.sha256(), model.state_dict() if weights is None else weights
    for name in sorted(states):  # one at a time: some are computed when they are asked for
        weight = states[name]
        digest.update(f"{name}{tuple(weight.shape)}{weight.dtype}".encode())
        whole = weight.detach().cpu().contiguous().view(torch.uint8)
        digest.update(whole.numpy().data)  # no copy of it
    return digest.hexdigest()[:16]


def quieten() -> None:
    """Stop transformers from drawing progress bars, which would tear our own."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
