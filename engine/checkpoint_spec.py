"""Models made elsewhere, as a plan names them: where they are, how they are loaded and asked."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, model_validator

Dtype = Literal["auto", "float32", "bfloat16", "float16"]
Attention = Literal["auto", "eager", "sdpa", "flash_attention_2"]
DeviceMap = Literal["none", "auto", "balanced", "balanced_low_0", "sequential"]
Quantization = Literal["none", "int8", "nf4"]
PromptStyle = Literal["auto", "saved", "chat", "inst", "plain"]


class Strict(BaseModel):
    """Immutable, and unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class PromptSpec(Strict):
    """The text around a question.

    `saved`: the prompt_format.json beside the weights. `chat`: the tokenizer's chat template, with
    these arguments. `inst`: `[INST] question [/INST]`. `plain`: `Question: … Answer:`. `auto`: the
    first of saved, chat and plain that the model has.
    """

    style: PromptStyle = "auto"
    system: str | None = None  # a system message, for `chat`
    arguments: dict[str, str | int | float | bool] = {}  # of the chat template, for `chat`


class LoadingSpec(Strict):
    """How weights become a model; one for all that are compared, so that they can be."""

    dtype: Dtype = "auto"  # auto: as the weights are stored
    attention: Attention = "auto"  # auto: what transformers chooses for the architecture
    device_map: DeviceMap = "none"  # how accelerate spreads one model over several GPUs
    quantization: Quantization = "none"  # by bitsandbytes, while loading
    trust_remote_code: bool = False  # run Python files that come with the weights
    prompt: PromptSpec = PromptSpec()


class CheckpointSpec(Strict):
    """A repository of the hub or a local folder, and perhaps a PEFT adapter on it."""

    source: str  # owner/name on the hub, or a folder
    revision: str | None = None  # branch, tag or commit of a repository; None: its main branch
    adapter: str | None = None  # a repository or a folder, whose weights are folded in
    adapter_revision: str | None = None
    content: str | None = None  # hash that folders must have, as `checkpoints.content_hash` says


class UnlearnedSpec(Strict):
    """A checkpoint that somebody unlearned: by which method, as its name or its owner says."""

    method: str  # one of our methods, or any label
    checkpoint: CheckpointSpec
    settings: dict[str, Any] = {}  # hyperparameters, as far as they are known


class ExistingModel(Strict):
    """A model made elsewhere, the one that never saw the forget set, and those unlearned from it.

    Methods of the plan start from `base`; checkpoints of `unlearned` are measured as they are.
    """

    base: CheckpointSpec
    retain: CheckpointSpec | None = None
    loading: LoadingSpec = LoadingSpec()
    unlearned: tuple[UnlearnedSpec, ...] = ()

    @property
    def architecture(self) -> str:
        """What is known of it before it is loaded."""
        return "not loaded"

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        seen = [one.model_dump_json() for one in self.unlearned]
        twice = next((one for one in self.unlearned if seen.count(one.model_dump_json()) > 1), None)
        if twice is not None:
            raise ValueError(f"unlearned has {twice.checkpoint.source} twice")
        return self

    def of_run(self, method: str) -> ExistingModel:
        """What a run of a method depends on, so that its id does not change with the others."""
        retain = self.retain if method == "retrain" else None
        return self.model_copy(update={"retain": retain, "unlearned": ()})
