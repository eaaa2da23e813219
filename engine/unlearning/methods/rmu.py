"""Representation misdirection for unlearning (RMU).

Loss: mean_t (1/d) ‖h_θ − c u‖² on forget + α mean_t (1/d) ‖h_θ − h_θ₀‖² on retain, h the output of
one block, u a random direction of length 1 drawn once a run from [0, 1)^d; means over the tokens of
a sequence, then over sequences. Frozen model: θ₀, its activations only.
Source: Li et al. 2024, arXiv:2403.03218, section 4.
Differs: the block, c and α are for models of this size. BOS is left out of the means: as an
attention sink its activations are a hundred times larger than those of words. `tokens = "answer"`
leaves the question out too: with it the loss is open-unlearning's at batch 1. Above that
open-unlearning divides each sequence's sum by every sequence's number of tokens, (B,) by (B, 1),
where each is to be divided by its own; this does the latter. h is what leaves the block, before the
final norm where that follows. As in the source only the MLPs' output weights
of the block and the two before it change (`update = "mlp_output"`); open-unlearning's TOFU setting
changes all weights (`update = "all"`). Not offered is FailureLLMUnlearning's variant: it draws
another u from [-1, 1)^d at every step, steers the last block, has one number for c and α, and does
not divide the retain term by d.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from engine.models.lm import LM
from engine.plugins import later
from engine.unlearning.optimizer import Optimizer, Penalise
from results_db.records import Axis

if TYPE_CHECKING:
    from torch import Tensor, nn

    from engine.unlearning.batches import Batch
    from engine.unlearning.loop import Context, Outcome

MLP_OUTPUTS = ("mlp.down_proj.", "mlp.dense_4h_to_h.", "mlp.c_proj.")


@dataclass(frozen=True)
class Method:
    """Steer the activations of forget texts to a random direction."""

    start: ClassVar[Literal["base", "retain"]] = "base"
    axis: ClassVar[Axis] = "step"

    optimizer: Optimizer = Optimizer()
    layer: int = 2  # block whose output is steered, from 0
    steering_coefficient: float = 20.0  # c, the norm of the control vector
    alpha: float = 10.0  # weight of the retain term
    update: Literal["mlp_output", "all"] = "mlp_output"
    tokens: Literal["all", "answer"] = "all"  # over which the means go; never BOS
    penalise: Penalise = later("all")  # which tokens of the forget answers carry the loss

    def length(self) -> int:
        """Optimizer steps."""
        return self.optimizer.max_steps

    def steps(self, policy: LM, context: Context) -> Iterator[Outcome]:
        """Minimise misdirection on forget + α drift on retain."""
        from engine.models import adapters
        from engine.unlearning import blocks
        from engine.unlearning.loop import begin, gradient_steps

        context = begin(policy, context, self.optimizer, self.penalise)
        reference = adapters.reference(policy)
        control = control_vector(policy, self.steering_coefficient, context.seed)

        def loss(forget: Batch, retain: Batch) -> Iterator[Tensor]:
            steered = blocks.output_of(policy.model, forget.ids, self.layer) - control
            yield mean_square(steered, self._counted(forget, self.penalise))
            drift = blocks.output_of(policy.model, retain.ids, self.layer)
            with reference.frozen() as frozen:
                drift_from = blocks.output_of(frozen.model, retain.ids, self.layer)
            yield self.alpha * mean_square(drift - drift_from, self._counted(retain))

        trainable = self.trainable(policy)
        return gradient_steps(loss, policy, context, self.optimizer, trainable, self.layer)

    def _counted(self, batch: Batch, penalise: Penalise = "all") -> Tensor:
        """(B, T), True where a token counts: no padding, no BOS, and no question if so set."""
        import torch

        from engine.unlearning.batches import IGNORE

        if self.tokens == "answer" or penalise != "all":
            return batch.labels != IGNORE
        positions = torch.arange(batch.ids.shape[1], device=batch.ids.device)
        return batch.mask & (positions > 0)

    def trainable(self, policy: LM) -> list[nn.Parameter]:
        """The weights that change.

        Raises:
            BlockError: if the model has no such block, or no MLP output weight of a known name.
        """
        from engine.unlearning.blocks import BlockError, blocks_of

        last = len(blocks_of(policy.model)) - 1
        if not 0 <= self.layer <= last:
            raise BlockError(f"rmu: layer is {self.layer}, the model has blocks 0 to {last}")
        if self.update == "all":
            return list(policy.model.parameters())
        window = {str(block) for block in range(max(0, self.layer - 2), self.layer + 1)}
        chosen = [
            parameter
            for name, parameter in policy.model.named_parameters()
            if any(part in name for part in MLP_OUTPUTS)
            and name.endswith("weight")
            and parameter.requires_grad
            and window & set(name.split("."))
        ]
        if not chosen:
            raise BlockError(
                f"rmu: no weight is called {' or '.join(MLP_OUTPUTS)}weight; use update = 'all'"
            )
        return chosen


def control_vector(policy: LM, norm: float, seed: int) -> Tensor:
    """A random direction of the given norm, (D,); the same seed gives the same one."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    direction = torch.rand(policy.config.hidden_size, generator=generator)
    control: Tensor = (norm * direction / direction.norm()).to(policy.device)
    return control


def mean_square(difference: Tensor, counted: Tensor) -> Tensor:
    """Mean over sequences of the mean over counted tokens of ‖·‖² / d; a scalar.

    Args:
        difference: (B, T, D).
        counted: (B, T), True for the tokens that the mean goes over.
    """
    per_token = difference.square().mean(-1) * counted  # (B, T)
    mean: Tensor = (per_token.sum(1) / counted.sum(1)).mean()
    return mean
