"""One prompt: everything that is known about one example."""

from dashboard.controls import filters, panels, picker
from dashboard.look import formats
from dashboard.markup import listings, tables, tokens
from dashboard.rows import data
from dashboard.rows.drawn import kept

panels.page("One prompt", "Everything measured on a single example, in every run.")
chosen = filters.one_model(filters.sidebar())
model = chosen.models[0]
panels.context(chosen.benchmark, chosen.models, **chosen.version)
found = picker.search(chosen, model)
if panels.found(found, "No prompt matches. Clear the search or choose another split or outcome."):
    example_id = picker.pick(found)
    this = {"benchmark": chosen.benchmark, "example_id": example_id}
    panels.markup(tables.example(data.rows("example", **this, **chosen.version)))
    panels.probe_live(chosen.benchmark, model, example_id)

    panels.heading(
        "What does each run answer?" if chosen.step is None
        else f"What does each run answer after at most {formats.count(chosen.step, 'step')}?"
    )  # fmt: skip
    answers = data.rows(
        "example_answers", **this, **chosen.version, models=chosen.models,
        seeds=chosen.seeds, step=chosen.step,
    )  # fmt: skip
    answers = filters.only_methods(answers, chosen)
    if panels.found(answers):
        panels.markup(kept(tables.answers, answers))
        panels.computed("example", "example_answers")

    panels.heading(
        "Which words carry the answer before, after, and for a model that never knew it?",
        "Contribution in nats per answer token; KeyTokens of the base model are outlined. One "
        "scale for all lines, also for those of the other methods.",
    )
    panels.final_step_only(chosen)
    scores = data.rows(
        "prompt_tokens", **this, **chosen.version, model=model, **chosen.attribution,
        seeds=chosen.seeds,
    )  # fmt: skip
    if panels.found(scores, "No attribution of this kind for this prompt."):
        run_id = filters.run(filters.only_methods(scores, chosen), "Unlearned run")
        shown = scores["method"].isin(("none", "retrain")) | (scores["run_id"] == run_id)
        panels.markup(kept(tokens.strips, scores[shown], scores))
        others = filters.only_methods(scores[~shown], chosen)
        if len(others):
            with panels.folded("The same prompt under the other methods"):
                panels.markup(kept(tokens.strips, others, scores))
        panels.as_table(kept(tokens.table, scores), key="token_table")
        panels.computed("prompt_tokens")

        panels.heading("How did that run's answer change along the way?")
        course = data.rows("example_course", run_id=run_id, example_id=example_id)
        if panels.found(course, "This run was not asked this prompt."):
            panels.markup(kept(tables.course, course))
            panels.computed("example_course")

    panels.heading("What was tried to bring the answer back?")
    attempts = data.rows(
        "example_attempts", **this, **chosen.version, models=chosen.models,
        seeds=chosen.seeds,
    )  # fmt: skip
    attempts = filters.only_methods(attempts, chosen)
    if panels.found(attempts, "Emphasis was not tried on this prompt."):
        panels.listing(kept(listings.attempts_at_example, attempts), key="attempts")
        panels.computed("example_attempts")
