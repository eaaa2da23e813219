"""One prompt: everything that is known about one example."""

from dashboard import data, filters, listings, panels, picker, tables, tokens

panels.page("One prompt", "Everything measured on a single example, in every run.")
chosen = filters.one_model(filters.sidebar())
model = chosen.models[0]
panels.context(chosen.benchmark, chosen.models)
found = picker.search(chosen, model)
if panels.found(found, "No prompt matches. Clear the search or choose another split or outcome."):
    example_id = picker.pick(found)
    this = {"benchmark": chosen.benchmark, "example_id": example_id}
    panels.markup(tables.example(data.rows("example", **this)))
    panels.probe_live(chosen.benchmark, model, example_id)

    panels.heading("What does each run answer?")
    answers = filters.only_methods(
        data.rows("example_answers", **this, models=chosen.models), chosen
    )
    if panels.found(answers):
        panels.markup(tables.answers(answers))
        panels.computed("example", "example_answers")

    panels.heading(
        "Which words carry the answer in each run?",
        "Contribution in nats per answer token; KeyTokens of the base model are outlined.",
    )
    scores = data.rows("prompt_tokens", **this, model=model, **chosen.attribution)
    scores = filters.only_methods(scores, chosen)
    if panels.found(scores, "No attribution of this kind for this prompt."):
        panels.markup(tokens.strips(scores))
        panels.as_table(tokens.table(scores), key="token_table")
        panels.computed("prompt_tokens")

    panels.heading("What was tried to bring the answer back?")
    attempts = filters.only_methods(
        data.rows("example_attempts", **this, models=chosen.models), chosen
    )
    if panels.found(attempts, "Emphasis was not tried on this prompt."):
        panels.listing(listings.attempts_at_example(attempts), key="attempts")
        panels.computed("example_attempts")
