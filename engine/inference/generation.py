"""Prompts read once, then scored and continued token by token; plainly, or with attention moved.

Prompts of equal length are read together, so no row is padded: what a model keeps of a prompt is
read on from (`streams`), a gold answer is scored ahead of it, and the model's own answer follows.
Where the architecture allows it, answers to prompts of any length are then continued in one batch
(`ragged`). Rows that have ended are dropped on the way.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from engine.inference import known_answers
from engine.inference.known_answers import Drafted
from engine.inference.logprobs import scoring_path
from engine.inference.prefix_tree import Tokens
from engine.inference.processors import Processors
from engine.inference.ragged import Ragged
from engine.inference.streams import Keys, Stream, stream

if TYPE_CHECKING:
    from engine.models.lm import LM

DROPPED_AT = 0.25  # share of the rows that have ended: copying the others' keys costs time too
NOTHING = -1  # no id: no token leads clearly
PADDING = 0  # any id: what stands after the end of an answer is never read


@dataclass(frozen=True)
class Steering:
    """What is done while a model reads one prompt and answers it; nothing by default.

    The logits are plain + guidance · (plain − contrast).
    """

    bias: tuple[float, ...] = ()  # added to the attention logits of each prompt token, nats
    contrast: tuple[int, ...] = ()  # ids of the prompt without some of its words
    guidance: float = 0.0  # γ; needs a contrast


@dataclass(frozen=True)
class Sampling:
    """How an answer is drawn: one uniform number a token, from a seed of its own."""

    seed: str
    temperature: float = 1.0


PLAIN = Steering()


@dataclass(frozen=True)
class Job:
    """A prompt to answer, and a gold answer whose log-probabilities are wanted.

    `scored`: the job that gives them instead, where the gold answer stands behind other ids than
    those that are answered, as it does where the border between the two had to move.
    """

    prompt_ids: tuple[int, ...]
    gold_ids: tuple[int, ...] = ()  # (): none are wanted
    steering: Steering = PLAIN
    sampling: Sampling | None = None  # None: greedy
    scored: Job | None = None
    drafts: tuple[Tokens, ...] = field(default=(), compare=False)
    # what the greedy answer may be, checked before anything is generated; changes no answer
    begun: int = 0  # tokens at the end of the prompt that are answered already

    @property
    def kind(self) -> tuple[object, ...]:
        """What must be alike in a batch: lengths, and what is done to the model."""
        return (
            len(self.prompt_ids),
            len(self.steering.contrast),
            bool(self.steering.bias),
            self.sampling is None,
        )

    @property
    def tokens(self) -> int:
        """Tokens that are read before the answer."""
        return len(self.prompt_ids) + len(self.steering.contrast)


@dataclass(frozen=True)
class Completion:
    """What a model answered to a job."""

    ids: tuple[int, ...]  # without the end token
    logprobs: Tensor  # (A,), of the gold answer's tokens: fp32 on the CPU, nats; (0,) without one


def complete(
    lm: LM, jobs: Sequence[Job], max_new_tokens: int, tokens_per_batch: int
) -> list[Completion]:
    """Answers and gold log-probabilities, in order; equal jobs are computed once.

    Args:
        lm: the model to ask.
        jobs: that fit into its context with gold answer and new tokens.
        max_new_tokens: at which an answer is cut; 0: score the gold answers alone.
        tokens_per_batch: bound on rows times (prompt + longest answer); a longer row goes alone.
    """
    found = _checked(lm, jobs, max_new_tokens, tokens_per_batch) if max_new_tokens else {}
    left = [job for job in dict.fromkeys(jobs) if job not in found]
    begun: list[_Begun] = []
    for batch in _batches(left, max_new_tokens, tokens_per_batch):
        one = _Begun(lm, batch, max_new_tokens)
        if begun and not _go_together(lm, [*begun, one], max_new_tokens, tokens_per_batch):
            found.update(_finished(lm, begun))
            begun = []
        begun.append(one)
    found.update(_finished(lm, begun))
    apart = [job.scored for job in jobs if job.scored is not None]
    if not apart:
        return [found[job] for job in jobs]
    scored = dict(zip(apart, complete(lm, apart, 0, tokens_per_batch), strict=True))
    return [
        found[job]
        if job.scored is None
        else Completion(found[job].ids, scored[job.scored].logprobs)
        for job in jobs
    ]


def _checked(
    lm: LM, jobs: Sequence[Job], most: int, tokens_per_batch: int
) -> dict[Job, Completion]:
    """The answers that have drafts: as far as these are right, and generated from there."""
    drafts: dict[Job, list[Tokens]] = {}
    for job in jobs:
        if job.drafts and job.steering == PLAIN and job.sampling is None:
            drafts.setdefault(job, []).extend(job.drafts)
    if not drafts:
        return {}
    drafted = [
        Drafted(job.prompt_ids, job.gold_ids, tuple(dict.fromkeys(of)))
        for job, of in drafts.items()
    ]
    begun = dict(
        zip(drafts, known_answers.checked(lm, drafted, most, tokens_per_batch), strict=True)
    )
    rest = {
        job: Job((*job.prompt_ids, *one.ids), begun=len(one.ids))
        for job, one in begun.items()
        if not one.is_whole
    }
    after = dict(zip(rest, complete(lm, list(rest.values()), most, tokens_per_batch), strict=True))
    return {
        job: Completion((*one.ids, *(after[job].ids if job in after else ())), one.logprobs)
        for job, one in begun.items()
    }


def _batches(
    jobs: Sequence[Job], max_new_tokens: int, tokens_per_batch: int
) -> Iterator[list[Job]]:
    alike: dict[tuple[object, ...], list[Job]] = {}
    for job in jobs:
        alike.setdefault(job.kind, []).append(job)
    for group in alike.values():
        longest = max(max_new_tokens, *(len(job.gold_ids) for job in group))
        size = max(1, tokens_per_batch // (group[0].tokens + longest))
        for start in range(0, len(group), size):
            yield group[start : start + size]


class _Begun:
    """A batch of which everything is read and scored, and nothing generated yet."""

    @torch.inference_mode()
    def __init__(self, lm: LM, batch: Sequence[Job], max_new_tokens: int) -> None:
        """Read the prompts, and the gold answers behind them."""
        self.batch, gold = batch, [job.gold_ids for job in batch]
        self.reader = _Reader(lm, batch)
        logits = self.reader.answer_logits(gold)  # (B, longest gold answer + 1, V)
        self.logprobs = _gold_logprobs(logits, gold)
        self.said = _Said(lm, batch, max_new_tokens)
        self.said.follow_gold(logits)
        self.rows = self.said.waiting()
        self.reader.keep(self.rows)
        self.following = logits[self.rows, 0]  # (R, V)
        self.is_plain = batch[0].steering == PLAIN and isinstance(self.reader.plain, Keys)
        # keys and values alone are kept, and nothing is done to the model meanwhile

    def completions(self) -> Iterator[tuple[Job, Completion]]:
        """Everything that was said."""
        for job, ids, own in zip(self.batch, self.said.ids, self.logprobs, strict=True):
            yield job, Completion(tuple(ids), own)


def _go_together(
    lm: LM, begun: Sequence[_Begun], max_new_tokens: int, tokens_per_batch: int
) -> bool:
    """Whether these batches can be continued as one, and fit into the budget."""
    rows = sum(len(one.rows) for one in begun)
    longest = max(one.batch[0].tokens for one in begun) + max_new_tokens
    fits = rows * longest <= tokens_per_batch
    return fits and all(one.is_plain for one in begun) and scoring_path(lm) == "shared"


@torch.inference_mode()
def _finished(lm: LM, begun: Sequence[_Begun]) -> Iterator[tuple[Job, Completion]]:
    """Generate what is left of some batches, all of them together."""
    waiting = [one for one in begun if one.rows]
    read = [one.reader for one in waiting]
    for one in begun:
        del one.reader  # what was kept of its prompts goes with the last use below
    reader: _Reader | Ragged | None = read[0] if read else None
    if len(read) > 1:
        plain = [each.plain for each in read]
        reader = Ragged(lm.model, [each.cache for each in plain if isinstance(each, Keys)])
        del plain
    del read
    rows = [(one.said, row) for one in waiting for row in one.rows]
    following = torch.cat([one.following for one in waiting]) if waiting else torch.empty(0)
    while reader is not None and rows:
        left = _add(rows, following)
        if not left:
            break
        if len(rows) - len(left) >= DROPPED_AT * len(rows):
            reader.keep([rows.index(row) for row in left])
            rows = left
        last = torch.cat([said.last(own, lm.device) for said, own in _by_batch(rows)])
        following = reader.read(last)[:, 0]
    for one in begun:
        yield from one.completions()


def _add(rows: Sequence[tuple[_Said, int]], following: Tensor) -> list[tuple[_Said, int]]:
    """Say one more token in each row; the rows that then go on."""
    left, first = [], 0
    for said, own in _by_batch(rows):
        left += [(said, row) for row in said.add(own, following[first : first + len(own)])]
        first += len(own)
    return left


def _by_batch(rows: Sequence[tuple[_Said, int]]) -> Iterator[tuple[_Said, list[int]]]:
    """The rows of each batch, which stand together."""
    for said, own in itertools.groupby(rows, key=lambda row: row[0]):
        yield said, [row for _, row in own]


class _Reader:
    """B prompts of equal length that a model has read, and may read on from."""

    def __init__(self, lm: LM, batch: Sequence[Job]) -> None:
        """Read the prompts, and their contrasts where they are guided by any."""
        device, steerings = lm.device, [job.steering for job in batch]
        bias = torch.tensor([s.bias for s in steerings], device=device)  # (B, P), or (B, 0)
        self.plain = stream(lm.model, bias if bias.shape[1] else None)
        self.first = self.plain.begin([job.prompt_ids for job in batch], device)
        self.contrast: Stream | None = None
        self.guidance = torch.tensor([s.guidance for s in steerings], device=device)[:, None, None]
        if steerings[0].contrast:
            self.contrast = stream(lm.model)
            ids = torch.tensor([s.contrast for s in steerings], device=device)
            self.first = self._guided(self.first, self.contrast.read(ids))

    def _guided(self, plain: Tensor, contrast: Tensor) -> Tensor:
        return plain + self.guidance * (plain - contrast)

    def read(self, ids: Tensor) -> Tensor:
        """Logits after each of these tokens, (B, T, V), which the rows then stand behind.

        Args:
            ids: (B, T), next tokens of every row.
        """
        logits = self.plain.read(ids, ids.shape[1])
        if self.contrast is None:
            return logits
        return self._guided(logits, self.contrast.read(ids, ids.shape[1]))

    def _ahead(self, ids: Tensor) -> Tensor:
        """Logits after each of these tokens, (B, T, V), which the rows do not move behind."""
        logits = self.plain.ahead(ids)
        return logits if self.contrast is None else self._guided(logits, self.contrast.ahead(ids))

    def answer_logits(self, answers: Sequence[tuple[int, ...]]) -> Tensor:
        """Logits before each token of one answer a row, and after its last, (B, A + 1, V)."""
        longest = max(map(len, answers))
        if longest == 0:
            return self.first
        padded = [[*ids, *[PADDING] * (longest - len(ids))] for ids in answers]
        after = self._ahead(torch.tensor(padded, device=self.first.device))
        return torch.cat([self.first, after], dim=1)

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows alone."""
        if len(rows) == len(self.guidance):
            return
        index = torch.tensor(rows, dtype=torch.long, device=self.guidance.device)
        self.guidance = self.guidance[index]
        for one in (self.plain, self.contrast):
            if one is not None:
                one.keep(index)


class _Said:
    """The answers of a batch, as far as they go."""

    def __init__(self, lm: LM, batch: Sequence[Job], most: int) -> None:
        """Nothing is said yet."""
        self.ends, self.batch = lm.end_ids, batch
        self.most = [most - job.begun for job in batch]
        self.least_lead = known_answers.lead(lm.model.dtype)
        length = len(batch[0].prompt_ids)
        made = {b: Processors.of(lm, length - b) for b in {job.begun for job in batch} if most}
        self.processors = [made.get(job.begun, Processors(())) for job in batch]
        self.ids: list[list[int]] = [[] for _ in batch]
        self.done = [most == 0] * len(batch)
        self.draws = [random.Random(job.sampling.seed) if job.sampling else None for job in batch]

    def follow_gold(self, logits: Tensor) -> None:
        """Settle the rows whose greedy answer is the gold one, from logits (B, A + 1, V) along it.

        Each of these tokens is the likeliest one after those before it, and clearly so, whence
        generating says the same, unless logits are processed or the gold answer holds an end.
        """
        if any(self.processors):
            return
        greatest, likeliest = logits.topk(2)
        is_clear = greatest[..., 0] - greatest[..., 1] > self.least_lead  # (B, A + 1)
        greedy = likeliest[..., 0].masked_fill(~is_clear, NOTHING).tolist()
        for row, job in enumerate(self.batch):
            most = self.most[row]
            said, after = greedy[row][: len(job.gold_ids)], greedy[row][len(job.gold_ids) :][:1]
            ended = len(job.gold_ids) >= most or self.ends.issuperset(after)
            wanted = list(job.gold_ids[:most])
            plain = job.gold_ids and job.sampling is None and self.ends.isdisjoint(wanted)
            if plain and ended and said[:most] == wanted:
                self.ids[row], self.done[row] = wanted, True

    def waiting(self) -> list[int]:
        """Rows that have not ended."""
        return [row for row, done in enumerate(self.done) if not done]

    def add(self, rows: Sequence[int], logits: Tensor) -> list[int]:
        """Say one more token in each row that has not ended; the rows that then go on.

        Args:
            rows: of the batch, one for each row of the logits.
            logits: (R, V).
        """
        tokens = self._chosen(rows, logits)
        for row, token in zip(rows, tokens, strict=True):
            if self.done[row]:
                continue
            if token not in self.ends:
                self.ids[row].append(token)
            self.done[row] = token in self.ends or len(self.ids[row]) == self.most[row]
        return [row for row in rows if not self.done[row]]

    def last(self, rows: Sequence[int], device: torch.device) -> Tensor:
        """(R, 1), the last token of each row."""
        return torch.tensor([[(self.ids[row] or [PADDING])[-1]] for row in rows], device=device)

    def _processed(self, row: int, logits: Tensor) -> Tensor:
        """Logits (1, V) as the model's settings change them behind what a row has said."""
        read = [[*self.batch[row].prompt_ids, *self.ids[row]]]
        return self.processors[row].on(torch.tensor(read, device=logits.device), logits)

    def _chosen(self, rows: Sequence[int], logits: Tensor) -> list[int]:
        """The likeliest token of each row, or (sampling) the one under its uniform number."""
        if any(self.processors):
            each = zip(rows, logits[:, None], strict=True)
            logits = torch.cat([self._processed(row, one) for row, one in each])
        sampling = self.batch[rows[0]].sampling
        if sampling is None:
            likeliest: list[int] = logits.argmax(-1).tolist()
            return likeliest
        heat = [job.temperature for row in rows if (job := self.batch[row].sampling)]
        scaled = logits.double() / torch.tensor(heat, device=logits.device)[:, None]
        below = scaled.softmax(-1).cumsum(-1)
        uniform = [[draw.random()] for row in rows if (draw := self.draws[row])]
        drawn = torch.searchsorted(below, torch.tensor(uniform, dtype=below.dtype).to(below.device))
        tokens: list[int] = drawn.clamp(max=logits.shape[-1] - 1)[:, 0].tolist()
        return tokens


def _gold_logprobs(logits: Tensor, gold: Sequence[tuple[int, ...]]) -> list[Tensor]:
    """Log p of each gold token, one (A,) tensor a row, from logits (B, longest A + 1, V)."""
    before = logits[:, :-1]
    found = torch.zeros(before.shape[:2])
    if before.shape[1]:
        longest = before.shape[1]
        ids = torch.tensor(
            [[*row, *[PADDING] * (longest - len(row))] for row in gold], device=logits.device
        )
        chosen = before.gather(-1, ids[..., None])[..., 0]
        found = (chosen - before.logsumexp(-1)).cpu()
    return [row[: len(ids)].clone() for row, ids in zip(found, gold, strict=True)]


@dataclass(frozen=True)
class Generation:
    """A greedy answer."""

    text: str
    ids: tuple[int, ...]  # without the end token


def generate(
    lm: LM,
    prompt_ids: Sequence[Sequence[int]],
    max_new_tokens: int,
    tokens_per_batch: int,
    drafts: Sequence[Tokens] = (),
) -> list[Generation]:
    """Greedy answers, in the order of the prompts; see `complete`.

    Args:
        lm: the model to ask.
        prompt_ids: encoded prompts, BOS and template included.
        max_new_tokens: at which an answer is cut.
        tokens_per_batch: bound on rows times (prompt + new tokens).
        drafts: what each answer may be, () where nothing is known; (): of none. They change no
            answer.
    """
    known = drafts or [()] * len(prompt_ids)
    jobs = [
        Job(tuple(ids), drafts=(draft,) if draft else ())
        for ids, draft in zip(prompt_ids, known, strict=True)
    ]
    found = complete(lm, jobs, max_new_tokens, tokens_per_batch)
    return [Generation(decode(lm, one.ids), one.ids) for one in found]


def decode(lm: LM, ids: Sequence[int]) -> str:
    """The text of an answer's ids."""
    return str(lm.tokenizer.decode(list(ids), skip_special_tokens=True)).strip()
