"""Token shift: which prompt tokens carried the answer, before and after."""

from dashboard import charts
from dashboard.controls import filters, panels, picker
from dashboard.look import thresholds
from dashboard.markup import heat, metrics, tables, tokens
from dashboard.rows import data
from dashboard.rows.drawn import draw, kept

panels.page(
    "Token shift",
    "Which words of the prompt carried the answer before unlearning, and which carry it now?",
)
chosen = filters.one_model(filters.sidebar())
model = chosen.models[0]
panels.context(chosen.benchmark, chosen.models, **chosen.version)
panels.final_step_only(chosen)
panels.flags(data.rows("run_flags", **chosen.runs))
panels.warnings(data.rows("differences", **chosen.runs))

panels.heading(
    "What does each word of one prompt contribute?",
    "Contribution: how much more likely the answer is with the token than without it, in nats per "
    "answer token. KeyTokens, settled on the base model, are outlined. One scale for all lines.",
)
prompts = picker.prompts(chosen, model)
if panels.found(prompts, "This benchmark has no forget prompts for that model."):
    example_id = picker.pick(prompts)
    scores = data.rows(
        "prompt_tokens", benchmark=chosen.benchmark, model=model, example_id=example_id,
        **chosen.attribution,
    )  # fmt: skip
    scores = filters.only_methods(scores, chosen)
    if panels.found(scores, "No attribution of this kind for that prompt."):
        panels.markup(kept(tokens.strips, scores))
        panels.as_table(kept(tokens.table, scores), key="token_table")
        panels.computed("prompt_tokens")

panels.heading(
    "How far can these contributions be trusted?",
    "A: deleting the highest-ranked tokens hurts the answer more than deleting random ones, and "
    "every other check agrees. B: a check disagrees. C: no better than random. Measured on a "
    "sample of prompts that the study states; where a model has collapsed, expect C.",
)
grades = data.rows("grades", **chosen.runs, **chosen.attribution)
if panels.found(grades, "No attribution of this kind was graded in this study."):
    panels.markup(kept(tables.grades, grades))
    panels.computed("grades")

panels.heading(
    "Over all prompts, did focus leave the KeyTokens?",
    "Any change of weights lowers this share, because KeyTokens are the largest on the base model. "
    "Read a method beside sham (same steps, retain data only) and beside its retain prompts. A "
    "share of little contribution is noise: the nats on the right say how much there is. A click "
    "on a mark shows the prompts of its run at the end of this page.",
)
focus = data.rows("focus", **chosen.focus)
if panels.found(focus):
    panels.chart_that_sets(draw(charts.focus_shift, focus), "focus", filters.RUN)
    panels.computed("focus")

panels.heading(
    "Does that depend on how many tokens count as KeyTokens?",
    "Alpha is the threshold of the KeyToken rule: at 0 every token that supports the answer "
    "counts, higher up only those near the largest. The slider starts at the recorded alpha.",
)
by_alpha = data.rows("focus_by_alpha", **chosen.runs, **chosen.attribution)
if panels.found(by_alpha):
    figure = draw(charts.focus_over_alpha, by_alpha, filters.alpha(by_alpha))
    panels.chart(figure, key="alphas")
    panels.computed("focus_by_alpha")

panels.heading(
    "Is it still the same tokens that matter?",
    "Agreement of each run's contributions with the base model's, question by question. Rank "
    "correlation: 1 is the same order, 0 none. Top 3: share of the base model's three largest "
    "that are still among the three largest. KeyTokens: share of the base model's that the same "
    "rule finds on the run; chance is what as many tokens drawn at random would share. Read all "
    "beside sham and beside retain prompts.",
)
agreement = data.rows("rank_agreement", **chosen.runs, **chosen.attribution)
keys_kept = data.rows("key_tokens_kept", **chosen.runs, **chosen.attribution)
if agreement.empty:
    panels.note("Ranks are stored for the gold answer's words that are not in the prompt only.")
if panels.found(keys_kept, "No attribution of this kind has KeyTokens."):
    panels.markup(kept(tables.agreement, agreement, keys_kept))
    panels.computed("rank_agreement", "key_tokens_kept")

panels.heading(
    "How did the contribution of each kind of word change?",
    "Mean contribution, nats per token. If common words fall as far as keywords, all tokens were "
    "punished alike.",
)
classes = data.rows("class_contribution", **chosen.runs, **chosen.attribution)
if panels.found(classes):
    panels.markup(kept(heat.class_table, classes))
    panels.computed("class_contribution")

panels.heading(
    "What became of common words?",
    "Function words alone, of retain prompts and answers: their contribution, and how likely they "
    "are. Below each mean its 95% interval and the change from the base model, paired by example: "
    "a method that lowers these punishes language, not facts.",
)
common = data.rows("metrics", **chosen.runs)
common = common[common["task"] == metrics.COMMON_WORDS]
if panels.found(common, "The task common_words was not measured in these runs."):
    panels.markup(kept(metrics.of_task, common))
    panels.computed("metrics")

panels.heading(
    "Do KeyTokens find the words that were planted?",
    "The benchmark knows which words of a prompt its fact hangs on; attribution does not. Compared "
    "word by word on the base model. Grey: what as many words drawn at random would reach.",
)
planted = data.rows("keyword_agreement", **chosen.keywords)
if panels.found(planted, "No prompt here has both keywords and KeyTokens."):
    panels.chart(draw(charts.keyword_agreement, planted), key="keywords")
    panels.computed("keyword_agreement")

panels.heading(
    "How did focus move on each prompt of one run?",
    "One point a prompt. On the dotted line nothing changed. A click on a point names its prompt.",
)
if panels.found(focus):
    run_id = filters.run(focus)
    by_prompt = data.rows(
        "focus_by_prompt", run_id=run_id, **chosen.attribution, minimum_nats=thresholds.MINIMUM_NATS
    )
    figure = draw(charts.focus_of_prompts, by_prompt, run_id)
    clicked = panels.chart_to_choose(figure, key="focus_of_prompts")
    if clicked is not None:
        panels.note(f"Chosen: {clicked}")
        panels.open_prompt(clicked)
    panels.computed("focus_by_prompt")
