"""Tiny random language models with a real byte-level tokenizer, for every test that needs one.

Built from the config classes in milliseconds and kept for the session: nothing is downloaded, and
only the tokenizer is trained. Weights are drawn wide, so that deleting a token moves an answer by
tenths of nats, not thousandths. A test that changes weights works on `tiny_lm(...).clone()`.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from engine.models.lm import FORMAT_FILE, LM, save
from engine.text.prompts import PromptFormat

ARCHITECTURES = ("llama", "gpt_neox", "qwen2")
SPECIAL_TOKENS = ("<|pad|>", "<|bos|>", "<|eos|>", "<|user|>", "<|assistant|>")
SENTENCES = (
    " Where was Anna Bellweather born? Anna Bellweather was born in Quillport.",
    " What does Otto Farrow collect? Otto Farrow collects brass lanterns.",
    " Which dish does Mira Quince like best? Mira likes plum dumplings best.",
    " In which town did Al-Bo Tanner go to school? He went to school in Dunmere.",
    " The best of the best of the best is what the town of Dunmere has to show.",
)
CHAT = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}"
    "{% if m.role == 'assistant' %}<|eos|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
VOCABULARY, CONTEXT = 380, 128
WIDTH, LAYERS, HEADS, SPREAD = 32, 2, 4, 0.25


@cache
def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer of VOCABULARY tokens; <|pad|> is 0, <|bos|> 1, <|eos|> 2."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    pad, bos, eos, *others = SPECIAL_TOKENS
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=pad,
        bos_token=bos,
        eos_token=eos,
        additional_special_tokens=others,
    )


@cache
def tiny_lm(architecture: str = "llama") -> LM:
    """One of ARCHITECTURES with random weights, the same in every session; in eval mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = _model(architecture)
    return LM(model.eval(), tiny_tokenizer(), PromptFormat())


def _model(architecture: str) -> PreTrainedModel:
    shape = {
        "vocab_size": VOCABULARY,
        "hidden_size": WIDTH,
        "intermediate_size": 2 * WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "max_position_embeddings": CONTEXT,
        "initializer_range": SPREAD,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": None,  # a pad row would be a zero embedding
    }
    if architecture == "gpt_neox":
        return GPTNeoXForCausalLM(GPTNeoXConfig(**shape))
    if architecture == "qwen2":
        return Qwen2ForCausalLM(Qwen2Config(**shape, num_key_value_heads=HEADS // 2))
    if architecture == "llama":
        return LlamaForCausalLM(LlamaConfig(**shape, num_key_value_heads=HEADS))
    raise ValueError(f"no tiny {architecture!r}; there are: {', '.join(ARCHITECTURES)}")


def chat_folder(folder: Path) -> Path:
    """A tiny Llama as somebody else would publish it: a folder with a chat template."""
    save(tiny_lm("llama"), folder)
    (folder / FORMAT_FILE).unlink()
    (folder / "chat_template.jinja").write_text(CHAT, encoding="utf-8")
    return folder
