-- What tells a run from the others of its method, model, benchmark and measurement version?
-- Takes no parameters.
-- One row per run that has such others in the file. variant: the seed and the settings in which
-- they differ, as 'key=value' parts in the order of the keys; NULL where nothing differs.
WITH unfinished AS (
    FROM run WHERE status <> 'complete'
), leaf AS MATERIALIZED (
    SELECT run_id, benchmark, model, method, measurement, key, value
    FROM (FROM run_setting UNION ALL FROM settings_of('unfinished')) AS setting
    JOIN run USING (run_id)
), relatives AS (
    SELECT benchmark, model, method, measurement, count(*) AS runs
    FROM run GROUP BY benchmark, model, method, measurement HAVING count(*) > 1
), differing AS (
    SELECT benchmark, model, method, measurement, key
    FROM leaf JOIN relatives USING (benchmark, model, method, measurement)
    GROUP BY benchmark, model, method, measurement, key
    HAVING min(value) <> max(value) OR count(*) < any_value(runs)
)
SELECT run_id,
    string_agg(
        replace(key, 'optimizer.', '') || '=' || value, ', ' ORDER BY key = 'seed', key
    ) FILTER (differing.key IS NOT NULL) AS variant
FROM leaf
JOIN relatives USING (benchmark, model, method, measurement)
LEFT JOIN differing USING (benchmark, model, method, measurement, key)
GROUP BY run_id
ORDER BY run_id
