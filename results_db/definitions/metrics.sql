---------- Metrics ----------

-- What tasks and plain answers gave on the final weights of some runs, one row per run, metric and
-- example; split '' for a row that is about no example of the benchmark, such as a document of lm-eval
-- (a group of its own). value: what is averaged; stored: as the task
-- gave it. They differ for the truth ratio R: min(R, 1/R) of forget (of open-unlearning's, 1 /
-- (R + 1e-10)), max(0, 1 - R) of retain and general. Plain answers give a row where no task
-- open_unlearning does, which has every question. Older files call two tasks by names that are
-- open-unlearning's for other numbers.
CREATE OR REPLACE MACRO metric_items(of_runs) AS TABLE
    WITH given AS (
        SELECT run_id, step, CASE task
                WHEN 'truth_ratio' THEN 'truth_ratio_without_end'
                WHEN 'extraction_strength' THEN 'extraction_strength_from_zero'
                ELSE task
            END AS task, metric, example_id, value, unit, higher_is_better, reason
        FROM utility WHERE task <> 'plain_text'
        UNION ALL
        SELECT run_id, step, 'answer', one.metric, example_id, one.value, 'fraction', true,
            if(one.value IS NULL, 'the gold answer has nothing in a-z0-9, so ROUGE is undefined', NULL)
        FROM (
            SELECT run_id, step, example_id, unnest([
                {'metric': 'probability_without_end', 'value': exp(logprob)},
                {'metric': 'rouge_l_recall', 'value': rouge_l_recall}
            ]) AS one
            FROM answer ANTI JOIN (
                SELECT DISTINCT run_id, step FROM utility WHERE task = 'open_unlearning'
            ) AS whole ON whole.run_id = answer.run_id AND whole.step = answer.step
        )
    )
    SELECT chosen.run_id, task, metric, coalesce(split, '') AS split,
        coalesce("group", given.example_id) AS "group", attribute,
        given.example_id, value AS stored, unit, higher_is_better, reason,
        CASE
            WHEN task <> 'truth_ratio_without_end'
                AND metric NOT IN ('truth_ratio_ou', 'truth_ratio_ou_paraphrased_question')
                THEN stored
            WHEN split = 'forget'
                THEN least(stored, 1 / (stored + if(task = 'truth_ratio_without_end', 0, 1e-10)))
            ELSE greatest(0, 1 - stored)
        END AS value
    FROM query_table(of_runs) AS chosen
    JOIN given ON given.run_id = chosen.run_id AND given.step = chosen.final_step
    LEFT JOIN example
        ON example.benchmark = chosen.benchmark AND example.data_hash = chosen.data_hash
        AND example.example_id = given.example_id;

-- Scores of membership, one row per run, attack and example of forget and holdout, from a relation
-- of metric_items. Higher is less known. reference_ou: the loss minus that of the retain run.
CREATE OR REPLACE MACRO membership_scores(of_runs, of_items) AS TABLE
    WITH item AS (
        FROM query_table(of_items) WHERE split IN ('forget', 'holdout') AND value IS NOT NULL
    )
    SELECT run_id, split, value, CASE task
            WHEN 'min_k' THEN 'min_k'
            WHEN 'min_k_plus_plus' THEN 'min_k_plus_plus_sd_1e6'
            ELSE metric[5:]
        END AS attack
    FROM item WHERE task IN ('min_k', 'min_k_plus_plus', 'membership')
    UNION ALL
    SELECT item.run_id, item.split, item.value - never.value, 'reference_ou'
    FROM item
    JOIN query_table(of_runs) AS chosen ON chosen.run_id = item.run_id
    JOIN item AS never ON never.run_id = chosen.never_run_id AND never.metric = item.metric
        AND never.example_id = item.example_id
    WHERE item.metric = 'mia_loss_ou';

-- How well a score tells holdout from forget, per run and attack of a relation of
-- membership_scores: area under the ROC curve, forget 0, holdout 1, ties half; 1: forget is still
-- known, 0.5: no trace. NULL where either side has no value.
CREATE OR REPLACE MACRO membership_auc(of_scores) AS TABLE
    WITH ranked AS (
        SELECT run_id, attack, split = 'holdout' AS is_holdout,
            rank() OVER (PARTITION BY run_id, attack ORDER BY value)
            + (count(*) OVER (PARTITION BY run_id, attack, value) - 1) / 2 AS place
        FROM query_table(of_scores)
    ), counted AS (
        SELECT run_id, attack, count(*) FILTER (is_holdout) AS holdout,
            count(*) FILTER (NOT is_holdout) AS forget,
            sum(place) FILTER (is_holdout) AS places
        FROM ranked GROUP BY run_id, attack
    )
    SELECT run_id, attack, holdout + forget AS n,
        (places - holdout * (holdout + 1) / 2) / nullif(holdout * forget, 0) AS auc
    FROM counted;

-- Exact two-sided p of the two-sample Kolmogorov-Smirnov test with n values on either side, whose
-- distribution functions are at most h / n apart; NULL where n is.
CREATE OR REPLACE MACRO smirnov_p(n, h) AS
    CASE WHEN n IS NULL THEN NULL WHEN h = 0 THEN 1.0 ELSE least(1.0, greatest(0.0, 2 * list_sum([
        (-1) ** (j - 1) * exp(2 * lgamma(n + 1) - lgamma(n - j * h + 1) - lgamma(n + j * h + 1))
        FOR j IN range(1, n // h + 1)
    ]))) END;
