"""A study whose every text from data is markup of some kind, for tests of pages."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from results_db.records import ModelSource, RunResult
from tests.support import results_rows

HOSTILE = (
    "<script>window.hacked=1</script> <img src=x onerror=window.hacked=2> <b>x</b> *y* $z^2$ "
    "[a](http://b.example) :red[c] \x1b[31mred\x1b[0m \u202egnp.exe\u202c"
)
ENDLESS = " " + "x" * 100_000  # a token
METHOD = "<img src=x onerror=window.hacked=3> $z$"
MODEL = "<b>x</b> *m* [a](http://b.example) \u202e"


def study(path: Path) -> Path:
    """A study whose prompts, answers, tokens and error are markup of every kind."""
    prompt = f"Where does F1 {HOSTILE} live?"
    examples = [replace(results_rows.make_example("f1"), prompt=prompt, answer=HOSTILE)]
    results = []
    for run_id, method in (("base", "none"), ("ga", "ga"), ("odd", METHOD)):
        shown = json.dumps({"prefix": HOSTILE, "suffix": "", "answer_prefix": ""})
        run = results_rows.make_run(run_id, method, model=MODEL, prompt_format=shown)
        found = results_rows.attribution(run_id, "f1", (None, 0.1, 0.2, 0.3, 0.1, 0.0), step=0)
        tried = results_rows.attempt(run_id, "f1", "quote", "treatment", True, step=0)
        made = results_rows.make_result(
            run, examples, {0: {"f1": method == "none"}},
            attributions=[replace(found, tokens=("<s>", HOSTILE, " a", ENDLESS, " c", "?"))],
            recoveries=[
                replace(tried, prompt=HOSTILE, text=HOSTILE, arm=arm)
                for arm in ("treatment", "placebo_same")
            ],
        )  # fmt: skip
        answers = tuple(replace(answer, text=HOSTILE) for answer in made.answers)
        source = ModelSource(
            run_id, HOSTILE, None, None, None, None, "abcd", "sdpa", None, None, False, HOSTILE
        )
        results.append(replace(made, answers=answers, sources=(source,)))
    failed = replace(results_rows.failed_run("rmu", "rmu", model=MODEL), error=HOSTILE)
    return results_rows.publish_all(
        path, [*results, RunResult(failed, results_rows.BUILD, tuple(examples))]
    )
