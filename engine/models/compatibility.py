"""Whether models can be compared: tokenizer, template, number type, shapes.

Contributions and KeyTokens of the base model are laid beside those of an unlearned one by position:
of tokens, so that both must read the same ones, or of whole words, which any tokenizer has. What
differs is named; nothing is aligned by guessing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.models import checkpoint_files as files
from engine.models import hub
from engine.models.lm import FORMAT_FILE
from engine.models.load_report import BaseNamed
from engine.models.loading import ModelLoadError
from engine.specs import LoadingSpec
from engine.text.prompts import Unit

SHAPES = (
    "model_type",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "intermediate_size",
    "vocab_size",
)
READ = ("normalizer", "pre_tokenizer", "added_tokens", "model")  # parts that decide on token ids


PROBES = (  # what questions and answers are like, in scripts and signs
    "In which town was Anna Bellweather born in 1987?",
    " 1. Born 12/03/1999 (aged 25), she'd written 1,234.50 pages – “all” of them.",
    "Où est né Émile Zola? 東京はどこですか。 Где родился Чехов? أين وُلد؟ 🙂",
    "def f(x):\n    return x ** 2\t# twice\n\n  two  spaces ",
    "[INST] Question: Who is it? [/INST] Answer: None of us. <b>No</b>",
)

DTYPE_HINT = (
    "; --dtype float32 holds the weights of both as they are stored, a narrower one would round "
    "away what was unlearned"
)
HINT = "; tokenizers and templates may differ with --unit word"


class IncomparableModelsError(ValueError):
    """Two models that cannot be laid beside each other; names the difference."""


@dataclass(frozen=True)
class Nature:
    """What must be equal in models that are compared, as their small files say it."""

    tokenizer: dict[str, Any]  # as the installed library writes it, whichever version saved it
    special: dict[str, str]
    template: str
    saved_format: dict[str, Any]
    dtype: str
    shapes: dict[str, Any]

    def differences(
        self,
        other: Nature,
        loading: LoadingSpec,
        unit: Unit = "token",
        texts: Sequence[str] = (),
    ) -> list[str]:
        """Each difference that matters, in words, this model first.

        Args:
            other: what this one is compared with.
            loading: how both are loaded.
            unit: of a comparison by words, only what no reading by words makes up for.
            texts: that are asked and answered; see `reads_alike`.
        """
        found = [] if unit == "word" else self._read_otherwise(other, loading, texts)
        if loading.dtype == "auto" and self.dtype != other.dtype:
            found.append(f"dtype ({self.dtype} and {other.dtype}{DTYPE_HINT})")
        # a vocabulary is as large as its tokenizer says
        alike = unit == "word" or self.reads_alike(other, texts)
        ignored = {"vocab_size"} if alike else set()
        return [
            *found,
            *_unequal("shape", _less(self.shapes, ignored), _less(other.shapes, ignored)),
        ]

    def reads_alike(self, other: Nature, texts: Sequence[str] = ()) -> bool:
        """Whether both tokenizers do the same: rules, vocabulary, and ids of texts.

        A token that one of them has on top, such as an added [PAD], makes no difference as long
        as no text holds it.

        Args:
            other: what this one is compared with.
            texts: to encode with both, such as the questions that are asked; beside the fixed ones
                and both templates.
        """
        parts = ("normalizer", "pre_tokenizer", "model")
        if any(self.tokenizer.get(part) != other.tokenizer.get(part) for part in parts):
            return False
        mine, others = self._added(), other._added()
        if any(mine[key] != others[key] for key in mine.keys() & others.keys()):
            return False
        if any(one["content"].strip() == "" for one in (*mine.values(), *others.values())):
            return mine == others  # white space, which any text holds
        probed = (*PROBES, self.template, other.template, *texts)
        alone = {
            one["content"]
            for key, one in (mine | others).items()
            if key in mine.keys() ^ others.keys()
        }
        return not any(token in text for token in alone for text in probed)

    def _added(self) -> dict[str, dict[str, Any]]:
        """Added tokens by their text."""
        return {one["content"]: one for one in self.tokenizer.get("added_tokens") or ()}

    def _read_otherwise(
        self, other: Nature, loading: LoadingSpec, texts: Sequence[str]
    ) -> list[str]:
        """What makes other tokens of one question, or puts other text around it."""
        found = [
            f"tokenizer ({part}: {_size(self.tokenizer.get(part))} and "
            f"{_size(other.tokenizer.get(part))})"
            for part in READ
            if self.tokenizer.get(part) != other.tokenizer.get(part)
        ]
        if found and self.reads_alike(other, texts):
            found = []
        found += _unequal("special token", self.special, other.special)
        if loading.prompt.style in ("auto", "chat") and self.template != other.template:
            found.append("chat template")
        if loading.prompt.style in ("auto", "saved") and self.saved_format != other.saved_format:
            found.append(FORMAT_FILE)
        return found


def _less(table: dict[str, Any], ignored: set[str]) -> dict[str, Any]:
    return {key: value for key, value in table.items() if key not in ignored}


def _unequal(what: str, one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    return [
        f"{what} ({key}: {one.get(key)} and {other.get(key)})"
        for key in sorted(one.keys() | other.keys())
        if one.get(key) != other.get(key)
    ]


def _size(part: Any) -> str:  # noqa: ANN401 - JSON
    vocabulary = part.get("vocab") if isinstance(part, dict) else None
    if vocabulary is not None:
        return f"{len(vocabulary)} entries"
    return f"{len(part)} entries" if isinstance(part, list) else str((part or {}).get("type"))


def nature(folder: Path, where: str) -> Nature:
    """What a model's folder says of it; weights are not read.

    Raises:
        ModelLoadError: for a file that is missing or no JSON.
    """
    config = files.table(folder / "config.json", where)
    tokenizer = files.table(folder / "tokenizer.json", where)
    if not tokenizer:
        raise ModelLoadError(
            f"{where}: no tokenizer.json there; AutoTokenizer.from_pretrained(SOURCE)"
            ".save_pretrained(FOLDER) writes one"
        )
    normalised = _as_saved_today(tokenizer, where)
    settings = files.table(folder / "tokenizer_config.json", where)
    tokens = ("bos_token", "eos_token")
    special: dict[str, str] = {key: _text(settings[key]) for key in tokens if key in settings}
    return Nature(
        tokenizer={part: normalised.get(part) for part in READ},
        special=special,
        template=template(folder, where),
        saved_format=files.table(folder / FORMAT_FILE, where),
        dtype=str(config.get("dtype", config.get("torch_dtype", "float32"))),
        shapes=_shapes(config),
    )


def _shapes(config: Mapping[str, Any]) -> dict[str, Any]:
    """The sizes of the part that reads text: a multimodal model's stand in `text_config`.

    >>> _shapes({"model_type": "gemma3", "text_config": {"hidden_size": 8, "model_type": "x"}})
    {'model_type': 'gemma3', 'hidden_size': 8}
    """
    every = {**config, **(config.get("text_config") or {}), "model_type": config.get("model_type")}
    return {key: every[key] for key in SHAPES if key in every and every[key] is not None}


def _as_saved_today(tokenizer: dict[str, Any], where: str) -> dict[str, Any]:
    """A tokenizer as the installed library writes it: merges as pairs, defaults spelled out.

    Before tokenizers 0.20 merges were "a b"; since then they are ["a", "b"].

    Raises:
        ModelLoadError: for one that the library cannot read.
    """
    from tokenizers import Tokenizer

    try:
        # without what has no part in token ids, such as a trainer's truncation
        found = Tokenizer.from_str(json.dumps({part: tokenizer.get(part) for part in READ}))
    except Exception as error:  # the library raises Exception itself
        reason = str(error).splitlines()[0]
        raise ModelLoadError(f"{where}: tokenizer.json cannot be read: {reason}") from error
    table: dict[str, Any] = json.loads(found.to_str())
    return table


def template(folder: Path, where: str) -> str:
    """The chat template beside a tokenizer, or within its settings; empty without one."""
    path = folder / "chat_template.jinja"
    if path.is_file():
        return files.text(path, where)
    found = files.table(folder / "tokenizer_config.json", where).get("chat_template")
    if found is None:
        found = files.table(folder / "chat_template.json", where).get("chat_template")
    return found if isinstance(found, str) else json.dumps(found) if found else ""


def _text(token: Any) -> str:  # noqa: ANN401 - JSON: a string, or an object with its content
    return str(token["content"]) if isinstance(token, dict) else str(token)


def require(
    base: tuple[str, Nature],
    other: tuple[str, Nature],
    loading: LoadingSpec,
    unit: Unit = "token",
    texts: Sequence[str] = (),
) -> None:
    """Refuse models that cannot be compared.

    Args:
        base: name and nature of the first.
        other: of the second.
        loading: how both are loaded.
        unit: that has a contribution.
        texts: that are asked and answered; see `Nature.reads_alike`.

    Raises:
        IncomparableModelsError: naming both models and every difference.
    """
    found = base[1].differences(other[1], loading, unit, texts)
    if found:
        by_words = len(base[1].differences(other[1], loading, "word", texts)) < len(found)
        raise IncomparableModelsError(
            f"{base[0]} and {other[0]} cannot be compared {unit} by {unit}, they differ in: "
            f"{'; '.join(found)}{HINT if by_words else ''}"
        )


def base_named(folder: Path, given: str, base: Path) -> BaseNamed:
    """Whether the base that an adapter names is the one that it is put on, as names can say it.

    The path that it names is never opened.

    Args:
        folder: of the adapter.
        given: the base as it was given, a repository or a path.
        base: folder or file of the base.
    """
    said = files.table(folder / files.ADAPTER, str(folder)).get("base_model_name_or_path")
    if not isinstance(said, str) or not said.strip():
        return BaseNamed(None, given, None, "the adapter names no base")
    if said == given or _is_path_of(said, base):
        return BaseNamed(said, given, True, "the same name")
    origin = files.table(base / "config.json", given).get("_name_or_path") if base.is_dir() else ""
    if isinstance(origin, str) and origin and (said == origin or _last(said) == _last(origin)):
        return BaseNamed(said, given, True, "the base's config.json names the same origin")
    if _last(said) == _last(given):
        both = hub.is_repository(said) and hub.is_repository(given)
        where = "another owner" if both else "another place"
        return BaseNamed(said, given, True, f"the same last part of the name, of {where}")
    return BaseNamed(said, given, False, f"it names {said}, the base given is {given}")


def _is_path_of(said: str, base: Path) -> bool:
    return Path(said).is_absolute() and Path(said) in (base, base.resolve())


def _last(name: str) -> str:
    return name.rstrip("/").rpartition("/")[2].casefold()
