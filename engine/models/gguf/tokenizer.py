"""The tokenizer of a GGUF file: rebuilt as the vocabulary was learned, or refused by name.

A file names the rule that splits text before merges (tokenizer.ggml.pre) and does not hold it.
transformers falls back to GPT-2's rule for names that it does not know, which gives other ids, for
instance for every number: so only rules that are rebuilt here are taken.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.models.checkpoint_files import UnusableCheckpointError
from engine.models.gguf.header import Header

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

GPT2_RULE = ("gpt-2", "phi-2")
DIGITS_RULE = ("smollm", "starcoder")  # each digit apart, then GPT-2's rule
LLAMA3_RULE = ("llama3", "llama-v3", "llama-bpe", "falcon3")
REGEX_RULES = (*LLAMA3_RULE, "tekken", "qwen2", "deepseek-r1-qwen")  # transformers has the regex
WHOLE_WORDS = (*LLAMA3_RULE, "tekken")  # a word of the vocabulary stays whole whatever merges say
BEGINS_WITH_BOS = LLAMA3_RULE  # where the file does not say
CONTROL, USER_DEFINED = 3, 4  # token types of ggml
ENDS = ("eos_token_id", "eot_token_id", "eom_token_id")
KEY = "tokenizer.ggml."


def build(header: Header, path: Path) -> PreTrainedTokenizerFast:
    """The tokenizer, with special tokens, template and BOS as the file says.

    Raises:
        UnusableCheckpointError: for a kind or a rule that is not rebuilt here.
    """
    from transformers import PreTrainedTokenizerFast

    own = {k.removeprefix(KEY): v for k, v in header.metadata.items() if k.startswith(KEY)}
    tokens = own.get("tokens")
    if not isinstance(tokens, list) or not tokens:
        raise UnusableCheckpointError(f"{path}: has no vocabulary (tokenizer.ggml.tokens)")
    kind = own.get("model")
    if kind not in ("gpt2", "llama"):
        raise UnusableCheckpointError(
            f"{path}: its tokenizer is of kind {kind}; of GGUF files gpt2 and llama are read"
        )
    backend = _byte_level(own, path) if kind == "gpt2" else _sentencepiece(own, path)
    _add_special(backend, own)
    _add_ends(backend, own, is_sentencepiece=kind == "llama")
    named = {
        name: tokens[own[key]]
        for name, key in (
            ("bos_token", "bos_token_id"),
            ("eos_token", "eos_token_id"),
            ("unk_token", "unknown_token_id"),
            ("pad_token", "padding_token_id"),
        )
        if own.get(key) is not None and own[key] < len(tokens)
    }
    found: PreTrainedTokenizerFast = PreTrainedTokenizerFast(
        tokenizer_object=backend, clean_up_tokenization_spaces=False, **named
    )
    found.chat_template = header.metadata.get("tokenizer.chat_template")
    return found


def ends(header: Header) -> list[int]:
    """The ids that end an answer, as the file names them, without doubles."""
    named = [header.metadata.get(f"{KEY}{name}") for name in ENDS]
    return list(dict.fromkeys(int(one) for one in named if one is not None))


def _byte_level(own: dict[str, Any], path: Path) -> Tokenizer:
    """Byte-level BPE with the rule that the file names."""
    from tokenizers import Tokenizer, decoders, models

    rule = own.get("pre")
    splitting = _pre_tokenizer(rule, path)
    if "merges" not in own:
        raise UnusableCheckpointError(f"{path}: has no merges (tokenizer.ggml.merges)")
    found = Tokenizer(
        models.BPE(
            vocab={token: index for index, token in enumerate(own["tokens"])},
            merges=[tuple(merge.split(" ")) for merge in own["merges"]],
            ignore_merges=rule in WHOLE_WORDS,
        )
    )
    found.pre_tokenizer = splitting
    found.decoder = decoders.ByteLevel()
    return found


def _pre_tokenizer(rule: str | None, path: Path) -> Any:  # noqa: ANN401 - tokenizers has no types
    """How text is split before merges.

    Raises:
        UnusableCheckpointError: for a rule that is not rebuilt here, or none.
    """
    from tokenizers import Regex, pre_tokenizers

    whole = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if rule in GPT2_RULE:
        return whole
    if rule in DIGITS_RULE:
        return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), whole])
    regex = _regexes().get(str(rule)) if rule in REGEX_RULES else None
    if regex is None:
        known = ", ".join((*GPT2_RULE, *DIGITS_RULE, *REGEX_RULES))
        raise UnusableCheckpointError(
            f"{path}: splits text by the rule {rule or '(none named)'} (tokenizer.ggml.pre), which "
            f"is not rebuilt here and would give other ids; refused. Known: {known}"
        )
    split = pre_tokenizers.Split(Regex(regex), behavior="isolated")
    apart = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return pre_tokenizers.Sequence([split, apart])


def _regexes() -> dict[str, str]:
    """The regular expressions that transformers has by name; none in versions without them."""
    try:
        from transformers.integrations.gguf import gguf_tokenizer_mapping
    except ImportError:
        return {}
    return dict(gguf_tokenizer_mapping.GGUF_PRE_TOKENIZER_SPLITS)


def _sentencepiece(own: dict[str, Any], path: Path) -> Tokenizer:
    """BPE over pieces, a space being ▁, as Llama 2 has it; merges follow from the scores."""
    from tokenizers import Tokenizer, decoders, models, normalizers

    tokens = own["tokens"]
    if "scores" not in own:
        raise UnusableCheckpointError(f"{path}: has no scores (tokenizer.ggml.scores)")
    vocabulary = {token: index for index, token in enumerate(tokens)}
    unknown = own.get("unknown_token_id", 0)
    found = Tokenizer(
        models.BPE(
            vocab=vocabulary,
            merges=_merges(tokens, own["scores"]),
            unk_token=tokens[unknown],
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    begins = [normalizers.Prepend("▁")] if own.get("add_space_prefix", True) else []
    found.normalizer = normalizers.Sequence([*begins, normalizers.Replace(" ", "▁")])
    found.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
        + ([decoders.Strip(" ", 1, 0)] if begins else [])
    )
    return found


def _merges(tokens: list[str], scores: list[float]) -> list[tuple[str, str]]:
    """Each way to put two pieces together to a third, the best third first.

    Ties are in the order of the parts' ids, as convert_slow_tokenizer has them.
    """
    ids = {token: index for index, token in enumerate(tokens)}
    found = []
    for token, score in zip(tokens, scores, strict=True):
        pairs = [
            (token[:cut], token[cut:])
            for cut in range(1, len(token))
            if token[:cut] in ids and token[cut:] in ids
        ]
        pairs.sort(key=lambda pair: (ids[pair[0]], ids[pair[1]]))
        found += [(pair, score) for pair in pairs]
    found.sort(key=lambda one: -one[1])  # stable
    return [pair for pair, _ in found]


def _add_special(backend: Tokenizer, own: dict[str, Any]) -> None:
    """Tokens that are found whole in any text: those of control, and those users defined."""
    from tokenizers import AddedToken

    kinds = own.get("token_type") or [1] * len(own["tokens"])
    by_kind: dict[int, list[Any]] = {CONTROL: [], USER_DEFINED: []}
    for token, kind in zip(own["tokens"], kinds, strict=True):
        if kind in by_kind and token:
            by_kind[kind].append(AddedToken(token, normalized=False, special=kind == CONTROL))
    backend.add_special_tokens(by_kind[CONTROL])
    backend.add_tokens(by_kind[USER_DEFINED])


def _add_ends(backend: Tokenizer, own: dict[str, Any], *, is_sentencepiece: bool) -> None:
    """Put BOS before a text and EOS after it where the file's flags say so."""
    from tokenizers import processors

    default = is_sentencepiece or own.get("pre") in BEGINS_WITH_BOS
    flags = (
        ("bos_token_id", bool(own.get("add_bos_token", default))),
        ("eos_token_id", bool(own.get("add_eos_token", False))),
    )
    bos, eos = ([own["tokens"][own[key]]] if flag and key in own else [] for key, flag in flags)
    if not bos and not eos:
        return
    ids = {token: own["tokens"].index(token) for token in (*bos, *eos)}
    backend.post_processor = processors.TemplateProcessing(
        single=[*bos, "$A", *eos],
        pair=[*bos, "$A", *[f"{token}:1" for token in bos], "$B:1", *eos],
        special_tokens=list(ids.items()),
    )
