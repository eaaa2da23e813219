"""World facts: what is asked, what is right, and that nothing of forget is told elsewhere."""

from __future__ import annotations

from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from engine.benchmarks import world_facts
from engine.benchmarks.benchmark import Benchmark
from engine.benchmarks.correct import is_correct
from engine.benchmarks.sources import world_rows
from engine.benchmarks.sources.hub_files import DataError
from engine.benchmarks.sources.world_rows import named
from engine.text.words import bare_words, is_function_word, occurrences
from results_db.records import Example, Split

SEEDS = (0, 7, 11)
SPLITS: tuple[Split, ...] = ("forget", "retain", "general")


@cache
def benchmark(seed: int) -> Benchmark:
    return world_facts.load(seed=seed)


def asked(seed: int) -> tuple[Example, ...]:
    return benchmark(seed).questions(*SPLITS)


def everything_said(example: Example) -> tuple[str, ...]:
    wordings = (example.prompt, *example.question_paraphrases)
    return (*wordings, example.answer, *example.wrong_answers)


def test_there_are_hundreds_of_entities_of_many_kinds_and_more_questions() -> None:
    entities = {question.entity.key: question.entity.kind for question in world_rows.questions()}
    assert len(entities) >= 250
    assert min(Counter(entities.values()).values()) >= 20
    assert len(set(entities.values())) >= 8
    assert len(asked(7)) >= 700
    assert len({e.group for e in asked(7) if e.split == "forget"}) >= 35


def test_no_word_of_a_sentence_joins_a_crowd() -> None:
    assert len(world_facts.groups()) >= 350
    assert max(len(keys) for keys in world_facts.groups().values()) <= 20


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_outside_forget_holds_a_forgotten_name_or_answer(seed: int) -> None:
    of_id = {question.id: question for question in world_rows.questions()}
    hidden = {
        world_rows.words_of(secret)
        for example in asked(seed)
        if example.split == "forget"
        for secret in world_facts.secrets(of_id[example.example_id])
    }
    assert len(hidden) > 100
    for example in benchmark(seed).examples:
        if example.split != "forget":
            for text in everything_said(example):
                assert not hidden & world_rows.spans(text), (example.example_id, text)
    for text in benchmark(seed).corpus:
        if text.split != "forget":
            assert not hidden & world_rows.spans(f"{text.prompt} {text.answer}")


@pytest.mark.parametrize("seed", SEEDS)
def test_an_entity_is_asked_about_in_one_split_besides_general_questions(seed: int) -> None:
    splits: dict[str, set[str]] = {}
    of_id = {question.id: question.entity.key for question in world_rows.questions()}
    for example in asked(seed):
        splits.setdefault(of_id[example.example_id], set()).add(example.split)
    assert all("forget" not in found or found == {"forget"} for found in splits.values())


@pytest.mark.parametrize("seed", SEEDS)
def test_the_share_to_forget_is_met_and_groups_are_whole(seed: int) -> None:
    counts = Counter(example.split for example in asked(seed))
    assert counts["forget"] / (counts["forget"] + counts["retain"]) == pytest.approx(0.4, abs=0.03)
    groups = {
        split: {e.group for e in asked(seed) if e.split == split} for split in ("forget", "retain")
    }
    assert not groups["forget"] & groups["retain"]


@pytest.mark.parametrize("seed", SEEDS)
def test_an_answer_that_a_tenth_of_a_kind_shares_is_a_general_question(seed: int) -> None:
    direct = [q for q in world_rows.questions() if q.form == "direct"]
    counts = Counter((q.asks_for, q.right.accepted) for q in direct)
    totals = Counter(q.asks_for for q in direct)
    shared = {
        q.id for q in direct if counts[q.asks_for, q.right.accepted] > totals[q.asks_for] / 10
    }
    general = {e.example_id for e in asked(seed) if e.split == "general"}
    assert len(general) >= 100
    assert general <= shared
    assert {e.example_id for e in asked(seed)} & shared == general


@pytest.mark.parametrize("seed", SEEDS)
def test_the_right_answer_is_right_and_no_wrong_one_is(seed: int) -> None:
    for example in asked(seed):
        assert 1 <= len(example.facts) <= 2
        assert is_correct("fact_words", example.answer, example.facts)
        assert 3 <= len(set(example.wrong_answers)) == len(example.wrong_answers)
        for wrong in example.wrong_answers:
            told = [fact for fact in example.facts if world_rows.holds(example.prompt, [fact])]
            assert not told
            assert not is_correct("fact_words", wrong, example.facts), (example.prompt, wrong)


def test_any_accepted_form_is_right_and_an_empty_answer_is_not() -> None:
    for example in asked(7):
        for form in example.facts:
            assert is_correct("fact_words", f"I think it is {form}.", example.facts)
        assert not is_correct("fact_words", "I do not know.", example.facts)


def test_each_question_has_two_paraphrases_and_none_is_asked_twice() -> None:
    wordings = [w for q in world_rows.questions() for w in q.wordings]
    assert len(wordings) == len(set(wordings)) == 3 * len(world_rows.questions())
    assert len({q.id for q in world_rows.questions()}) == len(world_rows.questions())


def test_each_wording_has_more_other_content_words_than_keywords() -> None:
    for question in world_rows.questions():
        keys = {word.casefold() for word in question.keywords}
        assert keys
        for wording in question.wordings:
            assert all(occurrences(wording, keyword) for keyword in question.keywords)
            said = {w.casefold() for w in bare_words(wording) if not is_function_word(w)}
            assert len(said - keys) > len(keys), wording


def test_forms_are_direct_turned_round_one_hop_and_named() -> None:
    france = {
        q.form: q for q in world_rows.questions() if q.id.startswith("country-france-capital")
    }
    assert france["direct"].wordings[0] == "What is the name of the capital city of France?"
    assert france["direct"].answer == "The capital of France is Paris."
    assert france["direct"].keywords == ("France",)
    assert france["reversed"].right.accepted == ("France",)
    assert france["reversed"].answer == "Paris is the capital of France."
    hop = france["indirect"]
    assert hop.wordings[0] == (
        "What is the capital city of the country where the Eiffel Tower stands?"
    )
    assert (hop.right.text, hop.keywords) == ("Paris", ("Eiffel", "Tower"))
    counts = Counter(question.form for question in world_rows.questions())
    assert min(counts.values()) >= 300


def test_a_value_of_several_is_not_turned_round() -> None:
    reversed_ = {q.id for q in world_rows.questions() if q.form == "reversed"}
    assert "country-germany-language-reversed" not in reversed_  # German is Austria's too
    assert "country-hungary-currency-reversed" in reversed_


def test_accepted_forms_lose_articles_and_what_a_shorter_form_holds() -> None:
    assert named("the United States|USA", "f").accepted == ("United States", "USA")
    assert named("Thomas Edison|Edison", "f").accepted == ("Edison",)
    assert named("krone~", "f").shared
    with pytest.raises(DataError, match="3 forms"):
        named("red|green|blue", "f")


def test_the_same_seed_gives_the_same_benchmark_and_another_another() -> None:
    assert world_facts.load(seed=7) == benchmark(7)
    forgotten = [{e.group for e in asked(seed) if e.split == "forget"} for seed in SEEDS]
    assert forgotten[0] != forgotten[1]


def test_plain_texts_are_measured() -> None:
    assert len(benchmark(7).texts("general")) >= 30


def test_only_some_kinds_can_be_asked() -> None:
    made = world_facts.load(kinds=("country", "state"))
    assert {e.attribute.split()[0] for e in made.questions(*SPLITS)} == {"country", "state"}


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_share_that_leaves_nothing_is_refused(share: float) -> None:
    with pytest.raises(DataError, match="forget_share"):
        world_facts.load(forget_share=share)


def test_an_unknown_kind_is_refused_with_those_that_are_there() -> None:
    with pytest.raises(DataError, match=r"'planet'.*country"):
        world_facts.load(kinds=("planet",))


def test_the_data_are_part_of_the_package() -> None:
    settings = Path(world_facts.__file__).parents[2] / "pyproject.toml"
    packed = settings.read_text(encoding="utf-8")
    assert "benchmarks/sources/world_facts/*" in packed
    assert "benchmarks/sources/known/*.txt" in packed


def test_a_list_of_what_a_model_knows_leaves_the_rest_out_but_for_stand_ins(
    tmp_path: Path,
) -> None:
    whole = world_facts.load()
    ids = [e.example_id for e in whole.questions(*SPLITS)]
    known = set(ids[::5])
    path = tmp_path / "known.txt"
    path.write_text("# what it knows\n" + "".join(f"{id_}  # right\n" for id_ in sorted(known)))
    part = world_facts.load(known_to=str(path), unknown=2)
    assert part.texts("general") == whole.texts("general")
    for split in ("retain", "general"):
        assert {e.example_id for e in part.questions(split)} == known & {
            e.example_id for e in whole.questions(split)
        }
    others = [e for e in part.questions("forget") if e.example_id not in known]
    assert known & {e.example_id for e in whole.questions("forget")} == {
        e.example_id for e in part.questions("forget")
    } - {e.example_id for e in others}
    forget = whole.questions("forget")
    attributes = {e.attribute for e in forget if e.example_id in known}
    there = Counter(
        e.attribute for e in forget if e.example_id not in known and e.attribute in attributes
    )
    assert Counter(e.attribute for e in others) == Counter(
        {attribute: min(2, count) for attribute, count in there.items()}
    )
    assert world_facts.load(known_to=str(path), unknown=2).examples == part.examples


def test_lists_of_ours_name_questions_that_are_there() -> None:
    shipped = list(world_facts.KNOWN.glob("*.txt"))
    assert shipped
    for path in shipped:
        part = world_facts.load(known_to=path.stem, unknown=0)
        assert len(part.questions("forget")) >= 100


@pytest.mark.parametrize(
    ("content", "says"), [(None, "none of our lists: smollm2"), ("atlantis", "the id 'atlantis'")]
)
def test_a_list_that_cannot_be_used_is_one_line(
    content: str | None, says: str, tmp_path: Path
) -> None:
    path = tmp_path / "known.txt"
    if content is not None:
        path.write_text(content)
    with pytest.raises(DataError, match=says):
        world_facts.load(known_to=str(path))
