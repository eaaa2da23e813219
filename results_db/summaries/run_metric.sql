-- A metric that is not a mean over examples, on the final weights of a run.
-- run_id: The run.
-- name: auc_min_k, auc_min_k_plus_plus, privleak_min_k, privleak_min_k_plus_plus, forget_quality or model_utility.
-- value: AUC in [0, 1], PrivLeak in percent, p in [0, 1], or a harmonic mean in [0, 1]; NULL without one.
-- n: Examples, or parts of model utility, that it is over, a count.
-- reason: Why there is no value; NULL where there is one.
WITH membership AS (
    SELECT run_id, task, n, auc, 1 - auc AS missed FROM membership_auc('affected_item')
), tasks AS (
    SELECT unnest(['min_k', 'min_k_plus_plus']) AS task
), no_model AS (
    SELECT run_id, never_run_id, CASE never_knew
        WHEN 'absent' THEN 'no retain model in the file'
        WHEN 'itself' THEN 'this is the retain model' END AS reason
    FROM affected
), pooled AS (
    SELECT no_model.run_id, unnest([
        {'value': own.stored, 'side': 1}, {'value': never.stored, 'side': -1}
    ]) AS one
    FROM no_model
    JOIN affected_item AS own ON own.run_id = no_model.run_id
    JOIN affected_item AS never ON never.run_id = no_model.never_run_id
        AND never.example_id = own.example_id AND never.task = own.task
    WHERE own.task = 'truth_ratio' AND own.split = 'forget' AND own.stored IS NOT NULL
        AND never.stored IS NOT NULL
), gap AS (
    SELECT run_id, sum(one.side) OVER (PARTITION BY run_id ORDER BY one.value
        RANGE UNBOUNDED PRECEDING) AS apart
    FROM pooled
), quality AS (
    SELECT run_id, (count(*) // 2)::BIGINT AS n, max(abs(apart))::BIGINT AS h FROM gap GROUP BY run_id
), part AS (
    SELECT run_id, if(split = 'general', attribute, 'retain') AS kind, task, metric,
        avg(value) AS value
    FROM affected_item
    WHERE (split = 'retain' AND task = 'answer') OR (split = 'general'
            AND (metric = 'rouge_l_recall' OR (task, metric) = ('multiple_choice', 'share')))
        OR (split IN ('retain', 'general') AND task = 'truth_ratio')
    GROUP BY run_id, kind, task, metric
), parts AS (
    SELECT run_id, count(value) AS n, 3 * count(DISTINCT kind) AS wanted,
        if(min(value) <= 0, 0, count(value) / sum(1 / value) FILTER (value > 0)) AS value
    FROM part GROUP BY run_id
)
SELECT affected.run_id, 'auc_' || tasks.task AS name, auc AS value, coalesce(n, 0) AS n,
    if(auc IS NULL, if(n IS NULL, format('task {} was not run', tasks.task),
        'forget or holdout has no value'), NULL) AS reason
FROM affected CROSS JOIN tasks
LEFT JOIN membership ON membership.run_id = affected.run_id AND membership.task = tasks.task
UNION ALL
SELECT no_model.run_id, 'privleak_' || tasks.task,
    100 * (own.missed - never.missed) / nullif(never.missed, 0), coalesce(own.n, 0),
    CASE
        WHEN reason IS NOT NULL THEN reason
        WHEN own.missed IS NULL OR never.missed IS NULL THEN 'no AUC of this or of the retain model'
        WHEN never.missed = 0 THEN 'the AUC of the retain model is 1'
    END
FROM no_model CROSS JOIN tasks
LEFT JOIN membership AS own ON own.run_id = no_model.run_id AND own.task = tasks.task
LEFT JOIN membership AS never
    ON never.run_id = no_model.never_run_id AND never.task = tasks.task
UNION ALL
SELECT no_model.run_id, 'forget_quality', smirnov_p(n, h), coalesce(n, 0),
    coalesce(reason, if(n IS NULL, 'no truth ratio of this and of the retain model', NULL))
FROM no_model LEFT JOIN quality ON quality.run_id = no_model.run_id
UNION ALL
SELECT affected.run_id, 'model_utility', if(n = wanted, value, NULL), coalesce(n, 0),
    CASE WHEN n = wanted THEN NULL ELSE format('{} of {} parts were measured', coalesce(n, 0),
        coalesce(wanted::VARCHAR, 'its')) END
FROM affected LEFT JOIN parts ON parts.run_id = affected.run_id
