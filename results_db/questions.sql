-- What several questions share about the summaries, kept in every results file as definitions/ are.
-- of_models and of_methods: NULL or empty means all of them.

-- The measurement version whose runs of a benchmark are shown: the variable `measurement` where it
-- is set (SET VARIABLE measurement = 1), else the newest that the benchmark has. Numbers of different
-- versions do not compare: every question about several runs sees those of one version alone.
CREATE OR REPLACE MACRO shown_measurement(of_benchmark) AS coalesce(
    getvariable('measurement')::INTEGER,
    (SELECT max(measurement) FROM compared WHERE benchmark = of_benchmark)
);

-- The version of the data whose runs of a benchmark are shown: the variable `data_hash` where it is
-- set, else the one that the latest plan asks for, or without a plan that of the latest run. Examples
-- of different versions do not compare either.
CREATE OR REPLACE MACRO shown_data(of_benchmark) AS coalesce(
    getvariable('data_hash')::VARCHAR,
    (
        SELECT data_hash
        FROM compared LEFT JOIN planned_run USING (run_id) LEFT JOIN study USING (study)
        WHERE compared.benchmark = of_benchmark
            AND compared.measurement = shown_measurement(of_benchmark)
        ORDER BY planned_at DESC NULLS LAST, started_at DESC, data_hash LIMIT 1
    )
);

-- The compared runs of a benchmark, models and methods, of one measurement version and one version of
-- the data, from the summary of that view.
CREATE OR REPLACE MACRO chosen_runs(of_benchmark, of_models, of_methods) AS TABLE
    FROM compared
    WHERE benchmark = of_benchmark AND measurement = shown_measurement(of_benchmark)
        AND data_hash = shown_data(of_benchmark)
        AND (coalesce(len(of_models), 0) = 0 OR list_contains(of_models, model))
        AND (coalesce(len(of_methods), 0) = 0 OR list_contains(of_methods, method));

-- The same runs, and as `step` the last measured step of each that is not after at_step. NULL: the
-- final one; so it is too for a run along alpha.
CREATE OR REPLACE MACRO chosen_at(of_benchmark, of_models, of_methods, at_step) AS TABLE
    SELECT chosen.*, coalesce(earlier.step, final_step) AS step
    FROM chosen_runs(of_benchmark, of_models, of_methods) AS chosen
    LEFT JOIN (
        SELECT run_id, max(step) FILTER (step <= at_step) AS step
        FROM checkpoint WHERE axis = 'step' GROUP BY run_id
    ) AS earlier ON earlier.run_id = chosen.run_id;

-- Focus of each run beside the focus of its base model on the final weights, one row per run and
-- example that both have. focus: sum of positive contributions of KeyTokens / of all question
-- tokens, in [0, 1]; NULL where that denominator is below minimum_nats. key: sum of the
-- contributions of KeyTokens, nats; may be negative.
CREATE OR REPLACE MACRO focus_pairs(
    of_runs, of_attribution, of_target, of_answer_tokens, minimum_nats
) AS TABLE
    SELECT chosen.run_id, chosen.benchmark, chosen.data_hash, chosen.model, chosen.method, split, "group", example_id,
        focus_share(base_on_keys, base_on_question, minimum_nats) AS focus_before,
        focus_share(on_keys, on_question, minimum_nats) AS focus_after,
        base_key_contribution AS key_before, key_contribution AS key_after, plain_correct
    FROM query_table(of_runs) AS chosen
    JOIN example_focus AS found ON found.run_id = chosen.run_id
    WHERE found.method = of_attribution AND target = of_target
        AND answer_tokens = of_answer_tokens;

-- The conditions under which runs were made, one row per run and condition. of_runs: name of a
-- relation with the columns of run. condition: see query differences.
CREATE OR REPLACE MACRO run_conditions(of_runs) AS TABLE
    WITH computed AS (
        SELECT chosen.run_id, build.*
        FROM query_table(of_runs) AS chosen JOIN build ON build.build_id = chosen.build_id
    ), packaged AS (
        SELECT run_id, packages, unnest(json_keys(packages)) AS package FROM computed
    )
    SELECT run_id, 'dtype' AS condition, dtype AS value FROM query_table(of_runs)
    UNION ALL SELECT run_id, 'prompt format of ' || model, prompt_format FROM query_table(of_runs)
    UNION ALL SELECT run_id, 'data', data_hash FROM query_table(of_runs)
    UNION ALL
    SELECT chosen.run_id, 'base weights of ' || model || ', seed ' || seed, weight_hash
    FROM query_table(of_runs) AS chosen JOIN checkpoint
        ON checkpoint.run_id = chosen.base_run_id AND checkpoint.is_final
    UNION ALL
    SELECT run_id, 'attribution path of ' || split_part(name, ' ', 1),
        string_agg(split_part(name, ' ', 2), '+' ORDER BY name)
    FROM run_choice SEMI JOIN query_table(of_runs) USING (run_id)
    WHERE kind = 'attribution_path' GROUP BY run_id, split_part(name, ' ', 1)
    UNION ALL SELECT run_id, 'device', device FROM computed
    UNION ALL SELECT run_id, 'threads', threads::VARCHAR FROM computed
    UNION ALL SELECT run_id, 'python', python FROM computed
    UNION ALL SELECT run_id, 'platform', platform FROM computed
    UNION ALL SELECT run_id, 'commit', "commit" FROM computed
    UNION ALL SELECT run_id, package, packages ->> package FROM packaged;
