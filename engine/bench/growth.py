"""How leave-one-out's cost grows: with the number of chat prompts, and with their length."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial

from engine import console
from engine.attribution.attribute import AttributedAnswer
from engine.attribution.methods.leave_one_out import Method
from engine.bench import meters, shapes
from engine.inference.token_budget import default_tokens
from engine.models.lm import LM
from engine.text.prompts import Prompt
from results_db.records import TemplatePart

COUNTS = (10, 100, 1000)  # prompts of a call
LENGTHS = (32, 64, 128, 256)  # tokens of a prompt
PROMPTS, ANSWER_TOKENS = 10, 8  # of every length
SYSTEM, ROLE, GENERATION = 20, 3, 6  # tokens of a template, as of a small chat model
QUESTION = 8
WORDS = 40  # that questions are made of: with so few, many begin alike
Asked = tuple[list[Prompt], list[list[AttributedAnswer]]]


@dataclass(frozen=True)
class Grown:
    """One call over some prompts."""

    prompts: int
    prompt_tokens: int
    by_tokens: bool  # each token of the template is deleted alone
    seconds: float
    peak_bytes: int  # of tensors, above weights
    tokens_read: int

    @property
    def seconds_per_prompt(self) -> float:
        """What one prompt takes of it."""
        return self.seconds / self.prompts


def measured(
    name: str, device: str, *, quick: bool, tokens_per_batch: int | None = None
) -> list[Grown]:
    """Calls over more prompts, then over longer ones.

    Args:
        name: of `shapes.SHAPES`, or a folder.
        device: a torch device.
        quick: without the most prompts.
        tokens_per_batch: None: by free memory.
    """
    lm = shapes.model(name, device)
    budget = tokens_per_batch or default_tokens(lm)
    template = SYSTEM + ROLE + GENERATION
    calls = [
        (asked(lm, count, QUESTION), method)
        for count in (COUNTS[:-1] if quick else COUNTS)
        for method in (Method(), Method(template="tokens"))
    ]
    calls += [(asked(lm, PROMPTS, length - template - 1), Method()) for length in LENGTHS]
    Method().attribute(lm, *asked(lm, 1, QUESTION), budget)  # warms the model up
    return [_grown(lm, of_call, method, budget, device) for of_call, method in calls]


def asked(lm: LM, count: int, question_tokens: int) -> Asked:
    """Chat prompts of one template, each with an answer; their questions are of few words."""
    rng = random.Random(f"{count} {question_tokens}")
    most = int(lm.config.vocab_size)
    words = [rng.randrange(shapes.EOS + 1, most) for _ in range(WORDS)]
    template = [rng.randrange(shapes.EOS + 1, most) for _ in range(SYSTEM + ROLE + GENERATION)]
    prompts = [
        _chat(template, [rng.choice(words) for _ in range(question_tokens)]) for _ in range(count)
    ]
    return prompts, [[shapes.answer(lm, ANSWER_TOKENS, seed)] for seed in range(count)]


def _chat(template: Sequence[int], question: Sequence[int]) -> Prompt:
    before = SYSTEM + ROLE
    ids = (shapes.BOS, *template[:before], *question, *template[before:])
    parts: list[TemplatePart | None] = [None]
    parts += ["system"] * SYSTEM
    parts += ["role"] * ROLE
    parts += [None] * len(question)
    parts += ["generation"] * GENERATION
    inside = tuple(before < place <= before + len(question) for place in range(len(ids)))
    may = (False, *[True] * (len(ids) - 1))
    texts = tuple(f"t{token}" for token in ids)
    return Prompt(" ".join(texts), ids, texts, (None,) * len(ids), inside, may, tuple(parts))


def _grown(lm: LM, of_call: Asked, method: Method, budget: int, device: str) -> Grown:
    work = partial(method.attribute, lm, *of_call, budget)
    return Grown(
        len(of_call[0]),
        len(of_call[0][0].ids),
        method.template == "tokens",
        meters.seconds(work, device),
        meters.peak_bytes(work, device),
        _read(lm, work),
    )


def _read(lm: LM, work: Callable[[], object]) -> int:
    """Tokens that go through the model."""
    read: list[int] = []
    embeddings = lm.model.get_input_embeddings()
    hook = embeddings.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0].numel()))
    try:
        work()
    finally:
        hook.remove()
    return sum(read)


def documents(found: Sequence[Grown]) -> list[dict[str, object]]:
    """As JSON-ready values."""
    return [asdict(one) for one in found]


def show(name: str, found: Sequence[Grown]) -> None:
    """A table of all calls."""
    rows = [
        (
            one.prompts,
            one.prompt_tokens,
            "by tokens" if one.by_tokens else "by parts",
            f"{one.seconds:.2f}",
            f"{one.seconds_per_prompt * 1000:.1f}",
            f"{one.tokens_read / one.prompts:,.0f}",
            f"{one.peak_bytes / 2**20:.1f}",
        )
        for one in found
    ]
    columns = (
        "prompts",
        "tokens each",
        "template",
        "seconds",
        "ms a prompt",
        "tokens read a prompt",
    )
    console.show_table(f"{name}: leave-one-out of one call", (*columns, "peak MiB"), rows)
