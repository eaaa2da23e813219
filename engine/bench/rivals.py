"""Leave-one-out as people would do it without us: every way takes ids and gives contributions.

Each way answers with C of every prompt token but the first, nats per answer token. captum is handed
an input that deletes tokens, since its own inputs only replace them and tokenize text again.
"""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from engine.attribution.attribute import AttributedAnswer
from engine.attribution.methods.leave_one_out import Method
from engine.models.lm import LM
from engine.text.prompts import Prompt

Way = Callable[[LM, Prompt, AttributedAnswer], list[float]]


def ours(lm: LM, prompt: Prompt, answer: AttributedAnswer, tokens_per_batch: int) -> list[float]:
    """What the product does."""
    [[[scores]]] = Method(template="tokens").attribute(lm, [prompt], [[answer]], tokens_per_batch)
    return [score for score in scores.scores if score is not None]


def _variants(prompt: Prompt) -> list[tuple[int, ...]]:
    return [prompt.ids, *(prompt.ids[:i] + prompt.ids[i + 1 :] for i in range(1, len(prompt.ids)))]


def _losses(means: list[float]) -> list[float]:
    return [means[0] - mean for mean in means[1:]]


@torch.no_grad()
def plain_batch(lm: LM, prompt: Prompt, answer: AttributedAnswer) -> list[float]:
    """One padded batch of all deletions, logits at every position."""
    rows = [[*ids, *answer.ids[:-1]] for ids in _variants(prompt)]
    rows = [rows[0], *([*row, 0] for row in rows[1:])]  # padded on the right: nothing looks there
    logits = lm.model(torch.tensor(rows, device=lm.device), use_cache=False).logits
    logprobs = logits.float().log_softmax(-1)
    wanted = torch.tensor(answer.ids, device=lm.device)
    means = []
    for row, ids in enumerate(_variants(prompt)):
        at = torch.arange(len(answer.ids), device=lm.device) + len(ids) - 1
        means.append(logprobs[row, at, wanted].double().mean())
    return _losses(torch.stack(means).tolist())


@torch.no_grad()
def loop(lm: LM, prompt: Prompt, answer: AttributedAnswer) -> list[float]:
    """One forward pass a deletion."""
    means = []
    for ids in _variants(prompt):
        row = torch.tensor([[*ids, *answer.ids]], device=lm.device)
        logprobs = lm.model(row, use_cache=False).logits[0].float().log_softmax(-1)
        at = torch.arange(len(answer.ids), device=lm.device) + len(ids) - 1
        means.append(logprobs[at, row[0, len(ids) :]].double().mean().item())
    return _losses(means)


@torch.no_grad()
def kept_prefix(lm: LM, prompt: Prompt, answer: AttributedAnswer) -> list[float]:
    """One deletion at a time, keys and values of what stands before it kept: the fair rival.

    It reads as many tokens as ours but for the batch, and its logits are the answer's alone.
    Source: Liu et al. 2025, AttriBoT, arXiv:2411.15102 (key-value caching of leave-one-out).
    """
    whole, said = [*prompt.ids], list(answer.ids[:-1])
    wanted = torch.tensor(answer.ids, device=lm.device)
    cache, means = None, []
    for deleted in (None, *range(len(whole) - 1, 0, -1)):
        kept = 0 if deleted is None else min(deleted, len(whole) - 2)
        ids = [token for i, token in enumerate(whole) if i >= kept and i != deleted] + said
        if cache is not None:
            cache.crop(kept - cache.get_seq_length())
        found = lm.model(
            torch.tensor([ids], device=lm.device),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=len(answer.ids),
        )
        cache = found.past_key_values
        logprobs = found.logits[0].float().log_softmax(-1).gather(1, wanted[:, None])
        means.append(logprobs.double().mean().item())
    return _losses([means[0], *reversed(means[1:])])


def captum(lm: LM, prompt: Prompt, answer: AttributedAnswer) -> list[float]:
    """Captum with its default settings: wrong beyond the first answer token (transformers 5)."""
    return _captum(lm, prompt, answer, {})


def captum_fastest(lm: LM, prompt: Prompt, answer: AttributedAnswer) -> list[float]:
    """Captum in its fastest setting that is right."""
    return _captum(lm, prompt, answer, {"forward_in_tokens": False})


@torch.no_grad()
def _captum(
    lm: LM, prompt: Prompt, answer: AttributedAnswer, settings: dict[str, bool]
) -> list[float]:
    from captum.attr import FeatureAblation, LLMAttribution, TextTemplateInput

    class Deletions(TextTemplateInput):  # type: ignore[misc]  # captum asks for a type of its own
        """Presence of each token after the first; an absent one is deleted."""

        def __init__(self) -> None:
            self.n_itp_features = len(prompt.ids) - 1
            self.values = list(prompt.tokens[1:])

        def to_tensor(self) -> Tensor:
            return torch.ones(1, self.n_itp_features)

        def to_model_input(self, perturbed_tensor: Tensor | None = None) -> Tensor:
            present = self.to_tensor() if perturbed_tensor is None else perturbed_tensor
            kept = [
                i for i, there in zip(prompt.ids[1:], present[0].tolist(), strict=True) if there
            ]
            return torch.tensor([[prompt.ids[0], *kept]], device=lm.device)

        def format_attr(self, itp_attr: Tensor) -> Tensor:
            return itp_attr

    method = LLMAttribution(FeatureAblation(lm.model), lm.tokenizer)
    target = torch.tensor(answer.ids, device=lm.device)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about texts of tokens, which nobody looks at here
        found = method.attribute(Deletions(), target=target, **settings)
    return [float(total) / len(answer.ids) for total in found.seq_attr.flatten()]


def inseq_here() -> bool:
    """Whether inseq is installed; it is not among our requirements."""
    return importlib.util.find_spec("inseq") is not None


def inseq(lm: LM, prompt: Prompt, answer: AttributedAnswer) -> list[float]:
    """Inseq's occlusion: replaces instead of deleting, so that only its time can be compared."""
    package: Any = importlib.import_module("inseq")
    model = package.load_model(lm.model, "occlusion", tokenizer=lm.tokenizer)
    found = model.attribute(
        prompt.question,
        f"{prompt.question} {answer.text}",
        step_scores=["probability"],
        show_progress=False,
        pretty_progress=False,
    )
    scores: Tensor = found.sequence_attributions[0].target_attributions
    return [float(score) for score in scores[1 : len(prompt.ids)].nan_to_num().mean(1).flatten()]
