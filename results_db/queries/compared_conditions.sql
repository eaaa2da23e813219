-- Were two runs made under the same conditions?
-- $first   VARCHAR  a run
-- $second  VARCHAR  a run; may be the same
-- One row per condition in which they differ; no row when they are comparable. condition: benchmark
-- or model, measurement version, or a condition of query differences. warning: one sentence to show beside the
-- comparison.
WITH chosen AS MATERIALIZED (
    FROM run WHERE run_id IN ($first, $second)
), value AS (
    SELECT condition, value FROM run_conditions('chosen')
    UNION ALL SELECT 'benchmark', benchmark FROM chosen
    UNION ALL SELECT 'model', model FROM chosen
    UNION ALL SELECT 'measurement version', measurement::VARCHAR FROM chosen
)
SELECT condition,
    format('These runs differ in {}: {}.', condition,
        string_agg(DISTINCT value, ' and ' ORDER BY value)) AS warning
FROM value WHERE value IS NOT NULL
GROUP BY condition HAVING count(DISTINCT value) > 1
ORDER BY list_position(['measurement version', 'benchmark', 'model', 'data'], condition), condition
