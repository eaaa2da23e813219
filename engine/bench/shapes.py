"""Random Llamas of stated sizes, and questions of stated lengths to them."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from engine.attribution.attribute import AttributedAnswer
from engine.models.lm import LM
from engine.models.loading import load
from engine.text.prompts import Prompt, PromptFormat

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

CONTEXT = 1024
BOS, EOS = 1, 2


class ShapeError(LookupError):
    """A model that is neither a shape we know nor a folder."""


@dataclass(frozen=True)
class Shape:
    """Of a Llama."""

    width: int
    inner: int  # width of the feed-forward layers
    layers: int
    heads: int
    vocabulary: int
    dtype: torch.dtype = torch.float32


SHAPES = {
    "1m": Shape(128, 352, 4, 4, 2048),
    "33m": Shape(512, 1408, 8, 8, 8192),
    "110m": Shape(768, 2048, 12, 12, 16_384),
    "1b": Shape(2048, 5632, 22, 32, 32_000, torch.bfloat16),
    "7b": Shape(4096, 11_008, 32, 32, 32_000, torch.bfloat16),
}


def model(name: str, device: str) -> LM:
    """A shape with random weights, or the model of a folder or GGUF file.

    Raises:
        ShapeError: if it is neither.
        ModelLoadError: if what is there is no model.
    """
    if name in SHAPES:
        return random_model(SHAPES[name], device)
    if not Path(name).exists():
        known = ", ".join(SHAPES)
        raise ShapeError(f"--model {name!r} is no folder, no GGUF file and none of: {known}")
    return load(Path(name), device)


def random_model(shape: Shape, device: str) -> LM:
    """Weights drawn from a fixed seed, wide enough that every token matters."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.width,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        max_position_embeddings=CONTEXT,
        initializer_range=0.05,
        pad_token_id=None,
        bos_token_id=BOS,
        eos_token_id=EOS,
    )
    with torch.random.fork_rng(), torch.device(device):
        torch.manual_seed(0)
        built = LlamaForCausalLM._from_config(config, dtype=shape.dtype)
    return LM(built.eval(), _tokenizer(shape.vocabulary), PromptFormat("", "", ""))


def _tokenizer(vocabulary: int) -> PreTrainedTokenizerFast:
    """Every id is a word of its own, so that text and ids are the same thing."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {f"t{i}": i for i in range(EOS + 1, vocabulary)} | {"<unk>": 0, "<s>": BOS, "</s>": EOS}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


def question(lm: LM, prompt_tokens: int, seed: int = 0) -> Prompt:
    """A prompt of random tokens after a first one that is not deleted."""
    ids = _ids(lm, prompt_tokens, f"prompt {seed}")
    texts = tuple(f"t{token}" for token in ids)
    inside, none = (False, *[True] * (prompt_tokens - 1)), (None,) * prompt_tokens
    return Prompt(" ".join(texts), ids, texts, none, inside, inside, none)


def answer(lm: LM, answer_tokens: int, seed: int = 0) -> AttributedAnswer:
    """An answer of random tokens; all of it is attributed."""
    ids = _ids(lm, answer_tokens, f"answer {seed}")
    return AttributedAnswer("gold", " ".join(f"t{token}" for token in ids), ids, ())


def _ids(lm: LM, count: int, seed: str) -> tuple[int, ...]:
    rng = random.Random(seed)
    first = EOS + 1
    return tuple(rng.randrange(first, int(lm.config.vocab_size)) for _ in range(count))
