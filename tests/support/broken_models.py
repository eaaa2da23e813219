"""Models that are broken in one way each, as real ones are; tiny and random, or made of another."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, processors
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForMaskedLM,
)

from engine.models.lm import FORMAT_FILE, LM, save
from engine.text.prompts import PLAIN, PromptFormat, chat_format
from tests.support.tiny_models import VOCABULARY, tiny_lm, tiny_tokenizer

ENDLESS = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def tokenizer_copy() -> PreTrainedTokenizerFast:
    """A tokenizer of its own, that may be changed."""
    whole = Tokenizer.from_str(tiny_tokenizer().backend_tokenizer.to_str())
    return PreTrainedTokenizerFast(
        tokenizer_object=whole, pad_token="<|pad|>", bos_token="<|bos|>", eos_token="<|eos|>"
    )


def with_infinite_weight(of: LM | None = None) -> LM:
    """One weight is infinite."""
    lm = (of or tiny_lm()).clone()
    with torch.no_grad():
        lm.model.get_output_embeddings().weight[3, 3] = float("inf")
    return lm


def looking_ahead(of: LM | None = None) -> LM:
    """Attention has no causal mask."""
    lm = (of or tiny_lm()).clone()
    for module in lm.model.modules():
        if hasattr(module, "is_causal"):
            module.is_causal = False
    return lm


def forgetting_positions(of: LM | None = None) -> LM:
    """Tokens that are read behind a cache are given the positions of a text's first tokens."""
    lm = (of or tiny_lm()).clone()
    _wrap(lm.model, _positions_from_zero)
    return lm


def _positions_from_zero(arguments: dict[str, Any]) -> None:
    if arguments.get("past_key_values") is not None:
        ids = arguments["input_ids"]
        arguments["position_ids"] = torch.arange(ids.shape[1], device=ids.device)[None]


def _wrap(model: PreTrainedModel, change: Callable[[dict[str, Any]], None]) -> None:
    plain = model.forward

    def forward(*given: Any, **arguments: Any) -> Any:  # noqa: ANN401 - transformers' own
        change(arguments)
        return plain(*given, **arguments)

    model.forward = forward


def reading_whole_texts() -> LM:
    """Any text is one token, so that prompt and answer have no border."""
    words = Tokenizer(models.WordLevel({"<|bos|>": 0, "<|eos|>": 1, "<|unk|>": 2}, "<|unk|>"))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, bos_token="<|bos|>", eos_token="<|eos|>", unk_token="<|unk|>"
    )
    return replace(tiny_lm().clone(), tokenizer=tokenizer, prompt_format=PromptFormat())


def reading_nothing_in_front() -> LM:
    """Any text is one token and no BOS stands before it: a prompt has no token of its own."""
    return replace(reading_whole_texts(), prompt_format=PLAIN)


def without_eos() -> LM:
    """Neither tokenizer nor template has an end."""
    tokenizer = tokenizer_copy()
    tokenizer.eos_token = None
    return replace(tiny_lm().clone(), tokenizer=tokenizer)


def with_endless_template() -> LM:
    """Its chat template puts nothing behind an answer, and it does not end answers by itself."""
    tokenizer = tokenizer_copy()
    tokenizer.chat_template = ENDLESS
    form = chat_format(tokenizer)
    assert form is not None
    return replace(tiny_lm().clone(), tokenizer=tokenizer, prompt_format=form)


def with_two_bos() -> LM:
    """Its tokenizer puts two BOS in front."""
    tokenizer = tokenizer_copy()
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<|bos|> <|bos|> $A", special_tokens=[("<|bos|>", 1)]
    )
    return replace(tiny_lm().clone(), tokenizer=tokenizer, prompt_format=PLAIN)


def with_unknown_id() -> LM:
    """Its tokenizer makes an id that has no embedding."""
    tokenizer = tokenizer_copy()
    tokenizer.add_tokens(["<|more|>"])
    assert tokenizer.convert_tokens_to_ids("<|more|>") == VOCABULARY
    return replace(tiny_lm().clone(), tokenizer=tokenizer)


def saved(lm: LM, folder: Path) -> Path:
    """A folder of anybody's: weights, configuration and tokenizer, without a prompt format."""
    save(lm, folder)
    (folder / FORMAT_FILE).unlink()
    return folder


def name_tokenizer_class(folder: Path, name: str) -> None:
    """Let a tokenizer's settings name a class, whose rules AutoTokenizer puts in."""
    path = folder / "tokenizer_config.json"
    table = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**table, "tokenizer_class": name}), encoding="utf-8")


def rename_tensors(path: Path, new_name: Callable[[str], str | None]) -> None:
    """Give the tensors of a safetensors file other names; None leaves one out."""
    from safetensors.torch import load_file, save_file

    named = {new_name(name): tensor for name, tensor in load_file(path).items()}
    save_file(
        {name: tensor for name, tensor in named.items() if name is not None},
        path,
        metadata={"format": "pt"},
    )


def encoder(folder: Path) -> Path:
    """A folder with an encoder, which transformers loads as if it could continue texts."""
    config = RobertaConfig(
        vocab_size=VOCABULARY, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, max_position_embeddings=160, initializer_range=0.25,
        bos_token_id=1, eos_token_id=2, pad_token_id=0,
    )  # fmt: skip
    return _with_tokenizer(RobertaForMaskedLM(config), folder)


def encoder_decoder(folder: Path) -> Path:
    """A folder with an encoder-decoder, of which transformers loads the decoder alone."""
    config = BartConfig(
        vocab_size=VOCABULARY, d_model=32, encoder_layers=1, decoder_layers=1,
        encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=64,
        decoder_ffn_dim=64, max_position_embeddings=160,
        bos_token_id=1, eos_token_id=2, pad_token_id=0, decoder_start_token_id=2,
    )  # fmt: skip
    return _with_tokenizer(BartForConditionalGeneration(config), folder)


def _with_tokenizer(model: PreTrainedModel, folder: Path) -> Path:
    model.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


def adapter(base: Path, folder: Path, named: str | None = None) -> Path:
    """A folder with a LoRA adapter on the attention of a tiny model, its weights drawn wide.

    Args:
        base: folder of the base model.
        folder: of the adapter.
        named: base model that it names; None: the folder.
    """
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base)
    wrapped = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj", "v_proj"]))
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        for name, weight in wrapped.named_parameters():
            if "lora_B" in name:
                weight.normal_(0, 0.3)
    wrapped.peft_config["default"].base_model_name_or_path = named or str(base)
    wrapped.save_pretrained(folder)
    return folder
