-- What do evaluations made elsewhere say, beside two runs?
-- $benchmark  VARCHAR  name of the benchmark; a file of MUSE is of each of its parts
-- $first      VARCHAR  a run
-- $second     VARCHAR  a run; may be the same
-- One row per metric, by its name there, and side: first and second (a run, on its final weights) or
-- outside (an evaluation, see outside_runs). owner: id of the run, name of the evaluation. value: as
-- that project defines it. n: rows, or parts, it is over; NULL where a file does not say. reason: why
-- there is no value. No difference is taken: rows, prompts and versions may be others.
WITH outside AS (
    FROM outside_run
    WHERE $benchmark = benchmark OR starts_with($benchmark, benchmark || '-')
), theirs AS (
    SELECT metric, name AS owner,
        any_value(value) FILTER (key = 'agg_value' AND "index" IS NULL AND part = '') AS value,
        any_value(reason) FILTER (key = 'agg_value' AND "index" IS NULL AND part = '') AS reason,
        nullif(count(DISTINCT (part, "index")) FILTER ("index" IS NOT NULL), 0) AS n
    FROM outside JOIN outside_metric USING (outside_id) GROUP BY metric, name
), asked AS MATERIALIZED (
    FROM compared WHERE run_id IN ($first, $second)
), side AS (
    SELECT 'first' AS side, $first AS run_id UNION ALL SELECT 'second', $second
), ours AS (
    SELECT side, run_id AS owner, name AS metric, value, n, reason
    FROM open_unlearning_values('asked') JOIN side USING (run_id)
), named AS (
    SELECT DISTINCT CASE metric WHEN 'forget_Truth_Ratio' THEN 'forget_truth_ratio' ELSE metric END
        AS metric
    FROM theirs
)
SELECT metric, 'outside' AS side, owner, value, n, reason FROM (
    SELECT * REPLACE (CASE metric WHEN 'forget_Truth_Ratio' THEN 'forget_truth_ratio' ELSE metric END
        AS metric) FROM theirs
)
UNION ALL
SELECT metric, side.side, side.run_id, value, n,
    if(value IS NULL, coalesce(reason, 'not measured here'), NULL)
FROM named CROSS JOIN side LEFT JOIN ours USING (metric, side)
ORDER BY metric, list_position(['first', 'second', 'outside'], side), owner
