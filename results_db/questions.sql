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
    UNION ALL SELECT run_id, 'python', python FROM computed
    UNION ALL SELECT run_id, 'platform', platform FROM computed
    UNION ALL SELECT run_id, 'commit', "commit" FROM computed
    UNION ALL SELECT run_id, package, packages ->> package FROM packaged;

---------- Evaluations made elsewhere ----------

-- What open-unlearning's files call metrics of this file: benchmark (tofu, or muse for its parts),
-- name there, part (of a membership attack), key of a row there; here the task, metric, split and
-- kind of question (empty: every one; knowmem: all of MUSE but its passages). is_mean: whether the
-- mean over these rows is the metric itself.
CREATE OR REPLACE MACRO open_unlearning_names() AS TABLE
    WITH attack AS (
        SELECT unnest(['loss', 'zlib', 'min_k', 'min_k_plus_plus', 'gradnorm']) AS attack
    ), membership AS (
        SELECT benchmark, 'mia_' || attack AS name, part, 'score' AS key, 'membership' AS task,
            'mia_' || attack || '_ou' AS metric, part AS split, '' AS kind, false AS is_mean
        FROM attack CROSS JOIN (VALUES ('tofu'), ('muse')) AS benchmarks (benchmark)
        CROSS JOIN (VALUES ('forget'), ('holdout')) AS parts (part)
    ), memorized AS (
        SELECT benchmark, name, '' AS part, 'score' AS key, task, metric, 'forget' AS split, kind,
            true AS is_mean
        FROM (VALUES
            ('extraction_strength', 'open_unlearning', 'extraction_strength_ou'),
            ('exact_memorization', 'exact_memorization', 'fraction')
        ) AS names (name, task, metric)
        CROSS JOIN (VALUES ('tofu', ''), ('muse', 'verbmem')) AS benchmarks (benchmark, kind)
    ), worded AS (
        SELECT unnest(['rouge1_recall', 'rougeL_recall', 'rougeL_f1']) AS key,
            unnest(['rouge_1_recall', 'rouge_l_recall', 'rouge_l_f1']) AS metric
    ), tofu AS (
        SELECT * FROM (VALUES
            ('forget', 'forget', ''), ('retain', 'retain', ''),
            ('ra', 'general', 'real_authors'), ('wf', 'general', 'world_facts')
        ) AS sets (prefix, split, kind)
    ), likely AS (
        SELECT * FROM (VALUES
            ('Q_A_Prob', 'prob', 'probability_ou'),
            ('Q_A_Prob_normalised', 'prob', 'probability_w_options_ou'),
            ('Truth_Ratio', 'score', 'truth_ratio_ou')
        ) AS names (suffix, key, metric)
    )
    FROM membership
    UNION ALL FROM memorized
    UNION ALL
    SELECT 'tofu', if(prefix = 'forget' AND suffix = 'Truth_Ratio', 'forget_truth_ratio',
        prefix || '_' || suffix), '', key, 'open_unlearning', metric, split, kind, true
    FROM tofu CROSS JOIN likely WHERE suffix <> 'Q_A_Prob_normalised' OR split = 'general'
    UNION ALL
    SELECT 'tofu', prefix || '_Q_A_PARA_Prob', '', 'prob', 'paraphrases',
        'probability_paraphrased_answer_ou', split, kind, true
    FROM tofu WHERE split <> 'general'
    UNION ALL
    SELECT 'tofu', prefix || '_Q_A_ROUGE', '', key, 'open_unlearning', metric, split, kind,
        key = 'rougeL_recall'
    FROM tofu CROSS JOIN worded
    UNION ALL
    SELECT 'muse', name, '', key, 'open_unlearning', metric, split, kind, key = 'rougeL_f1'
    FROM (VALUES
        ('forget_knowmem_ROUGE', 'forget', 'knowmem'), ('retain_knowmem_ROUGE', 'retain', 'knowmem'),
        ('forget_verbmem_ROUGE', 'forget', 'verbmem')
    ) AS names (name, split, kind) CROSS JOIN worded;

-- Values of some runs on their final weights under open-unlearning's names, one row per run, name,
-- part, key and example. stored: as that project gives it; value: what is averaged.
CREATE OR REPLACE MACRO open_unlearning_items(of_runs) AS TABLE
    SELECT chosen.run_id, name, part, key, is_mean, example_id, item.stored, item.value, item.reason
    FROM metric_items(of_runs) AS item
    JOIN query_table(of_runs) AS chosen ON chosen.run_id = item.run_id
    JOIN open_unlearning_names() AS named ON named.task = item.task
        AND named.metric = item.metric AND named.split = item.split
        AND (named.benchmark = chosen.benchmark
            OR starts_with(chosen.benchmark, named.benchmark || '-'))
        AND CASE named.kind WHEN '' THEN true WHEN 'knowmem' THEN item.attribute <> 'verbmem'
            ELSE item.attribute = named.kind END;

-- Metrics of some runs under open-unlearning's names, one row per run and name: value, NULL where a
-- row lacks one; n: examples, or parts; reason: why there is no value.
CREATE OR REPLACE MACRO open_unlearning_values(of_runs) AS TABLE
    WITH item AS (FROM open_unlearning_items(of_runs) WHERE is_mean)
    SELECT run_id, name, if(count(*) = count(value), avg(value), NULL) AS value,
        count(value) AS n, if(count(*) = count(value), NULL, mode(reason)) AS reason
    FROM item GROUP BY run_id, name
    UNION ALL
    SELECT found.run_id, named.theirs, found.value, found.n, found.reason
    FROM run_metric AS found
    JOIN query_table(of_runs) AS chosen ON chosen.run_id = found.run_id
    JOIN (VALUES
        ('forget_quality', 'forget_quality_ou'), ('model_utility', 'model_utility_ou'),
        ('privleak', 'privleak_min_k_ou'), ('mia_loss', 'auc_loss_ou'), ('mia_zlib', 'auc_zlib_ou'),
        ('mia_min_k', 'auc_min_k_ou'), ('mia_min_k_plus_plus', 'auc_min_k_plus_plus_ou'),
        ('mia_gradnorm', 'auc_gradnorm_ou'), ('mia_reference', 'auc_reference_ou')
    ) AS named (theirs, ours) ON named.ours = found.name
    WHERE starts_with(chosen.benchmark, 'muse-') AND named.theirs NOT IN ('forget_quality', 'model_utility')
        OR chosen.benchmark = 'tofu';
