---------- Metrics ----------

-- What tasks and plain answers gave on the final weights of some runs, one row per run, metric and
-- example; split '' for a row that is about no example. value: what is averaged; stored: as the task
-- gave it. They differ for the truth ratio R: min(R, 1/R) of forget, max(0, 1 - R) of retain and
-- general.
CREATE OR REPLACE MACRO metric_items(of_runs) AS TABLE
    WITH given AS (
        SELECT run_id, step, task, metric, example_id, value, unit, higher_is_better, reason
        FROM utility WHERE task <> 'plain_text'
        UNION ALL
        SELECT run_id, step, 'answer', 'probability', example_id, exp(logprob), 'fraction', true, NULL
        FROM answer
        UNION ALL
        SELECT run_id, step, 'answer', 'rouge_l_recall', example_id, rouge_l_recall, 'fraction', true,
            NULL
        FROM answer
    )
    SELECT chosen.run_id, task, metric, coalesce(split, '') AS split, "group", attribute,
        given.example_id, value AS stored, unit, higher_is_better, reason,
        CASE
            WHEN task <> 'truth_ratio' THEN stored
            WHEN split = 'forget' THEN least(stored, 1 / stored)
            ELSE greatest(0, 1 - stored)
        END AS value
    FROM query_table(of_runs) AS chosen
    JOIN given ON given.run_id = chosen.run_id AND given.step = chosen.final_step
    LEFT JOIN example
        ON example.benchmark = chosen.benchmark AND example.data_hash = chosen.data_hash
        AND example.example_id = given.example_id;

-- How well a loss-like score tells holdout from forget, per run and task of a relation of
-- metric_items: area under the ROC curve, forget 0, holdout 1, ties half; 1: forget is still known,
-- 0.5: no trace. NULL where either side has no value.
CREATE OR REPLACE MACRO membership_auc(of_items) AS TABLE
    WITH ranked AS (
        SELECT run_id, task, split = 'holdout' AS is_holdout,
            rank() OVER (PARTITION BY run_id, task ORDER BY value)
            + (count(*) OVER (PARTITION BY run_id, task, value) - 1) / 2 AS place
        FROM query_table(of_items)
        WHERE task IN ('min_k', 'min_k_plus_plus') AND split IN ('forget', 'holdout')
            AND value IS NOT NULL
    ), counted AS (
        SELECT run_id, task, count(*) FILTER (is_holdout) AS holdout,
            count(*) FILTER (NOT is_holdout) AS forget,
            sum(place) FILTER (is_holdout) AS places
        FROM ranked GROUP BY run_id, task
    )
    SELECT run_id, task, holdout + forget AS n,
        (places - holdout * (holdout + 1) / 2) / nullif(holdout * forget, 0) AS auc
    FROM counted;

-- Exact two-sided p of the two-sample Kolmogorov-Smirnov test with n values on either side, whose
-- distribution functions are at most h / n apart; NULL where n is.
CREATE OR REPLACE MACRO smirnov_p(n, h) AS
    CASE WHEN n IS NULL THEN NULL WHEN h = 0 THEN 1.0 ELSE least(1.0, greatest(0.0, 2 * list_sum([
        (-1) ** (j - 1) * exp(2 * lgamma(n + 1) - lgamma(n - j * h + 1) - lgamma(n + j * h + 1))
        FOR j IN range(1, n // h + 1)
    ]))) END;
