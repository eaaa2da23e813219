"""Tokenizers of the types that models made elsewhere have, trained on a few sentences."""

from __future__ import annotations

from functools import cache

from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import PreTrainedTokenizerFast

from tests.support.tiny_models import SENTENCES, tiny_tokenizer

UNKNOWN, BEGIN, END = "<unk>", "<s>", "</s>"


@cache
def llama2_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer of the Llama-2 type: "▁" for a space, one before every text, no pre-tokenizer.

    <unk> is 0, <s> 1 and put before a text by the tokenizer itself, </s> 2.
    """
    tokenizer = Tokenizer(models.BPE(unk_token=UNKNOWN, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")  # for training alone
    alphabet = sorted({"▁", "\n", *map(chr, range(33, 127))})
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=[UNKNOWN, BEGIN, END],
        initial_alphabet=alphabet,
        show_progress=False,
    )
    tokenizer.train_from_iterator([*SENTENCES, "Question: Answer:"] * 2, trainer)
    tokenizer.pre_tokenizer = None
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BEGIN} $A", special_tokens=[(BEGIN, 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token=UNKNOWN, bos_token=BEGIN, eos_token=END
    )


def byte_level(*, adds_bos: bool = False, **settings: object) -> PreTrainedTokenizerFast:
    """A tokenizer of the GPT-2 type; <|bos|> is put before a text only where it `adds_bos`."""
    names = {"bos_token": "<|bos|>", "eos_token": "<|eos|>"} | settings
    backend = Tokenizer.from_str(tiny_tokenizer().backend_tokenizer.to_str())
    if adds_bos:
        backend.post_processor = processors.TemplateProcessing(
            single="<|bos|> $A", special_tokens=[("<|bos|>", 1)]
        )
    return PreTrainedTokenizerFast(tokenizer_object=backend, **names)
