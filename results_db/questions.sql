-- What several questions share about the summaries, kept in every results file as macros.sql is.
-- of_models and of_methods: NULL or empty means all of them.

-- The compared runs of a benchmark, models and methods, from the summary of that view.
CREATE OR REPLACE MACRO chosen_runs(of_benchmark, of_models, of_methods) AS TABLE
    FROM compared
    WHERE benchmark = of_benchmark
        AND (coalesce(len(of_models), 0) = 0 OR list_contains(of_models, model))
        AND (coalesce(len(of_methods), 0) = 0 OR list_contains(of_methods, method));

-- Focus of each run beside the focus of its base model on the final weights, one row per run and
-- example that both have. focus: sum of positive contributions of KeyTokens / of all question
-- tokens, in [0, 1]; NULL where that denominator is below minimum_nats. key: sum of the
-- contributions of KeyTokens, nats; may be negative.
CREATE OR REPLACE MACRO focus_pairs(
    of_runs, of_attribution, of_target, of_answer_tokens, minimum_nats
) AS TABLE
    SELECT chosen.run_id, chosen.benchmark, chosen.model, chosen.method, split, "group", example_id,
        focus_share(base_on_keys, base_on_question, minimum_nats) AS focus_before,
        focus_share(on_keys, on_question, minimum_nats) AS focus_after,
        base_key_contribution AS key_before, key_contribution AS key_after, plain_correct
    FROM query_table(of_runs) AS chosen
    JOIN example_focus AS found ON found.run_id = chosen.run_id
    WHERE found.method = of_attribution AND target = of_target
        AND answer_tokens = of_answer_tokens;
