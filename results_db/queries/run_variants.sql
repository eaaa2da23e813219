-- What tells a run from the others of its method, model, benchmark, measurement version and data?
-- Takes no parameters.
-- One row per run that has such others in the file. variant: the seed and the settings in which
-- they differ, as 'key=value' parts in the order of the keys; NULL where nothing differs.
WITH every AS (
    SELECT * REPLACE (coalesce(data_hash, '') AS data_hash) FROM run
), unfinished AS (
    FROM run WHERE status <> 'complete'
), leaf AS MATERIALIZED (
    SELECT run_id, benchmark, model, method, measurement, data_hash, key, value
    FROM (FROM run_setting UNION ALL FROM settings_of('unfinished')) AS setting
    JOIN every USING (run_id)
), relatives AS (
    SELECT benchmark, model, method, measurement, data_hash, count(*) AS runs
    FROM every GROUP BY benchmark, model, method, measurement, data_hash HAVING count(*) > 1
), differing AS (
    SELECT benchmark, model, method, measurement, data_hash, key
    FROM leaf JOIN relatives USING (benchmark, model, method, measurement, data_hash)
    GROUP BY benchmark, model, method, measurement, data_hash, key
    HAVING min(value) <> max(value) OR count(*) < any_value(runs)
)
SELECT run_id,
    string_agg(
        replace(key, 'optimizer.', '') || '=' || value, ', ' ORDER BY key = 'seed', key
    ) FILTER (differing.key IS NOT NULL) AS variant
FROM leaf
JOIN relatives USING (benchmark, model, method, measurement, data_hash)
LEFT JOIN differing USING (benchmark, model, method, measurement, data_hash, key)
GROUP BY run_id
ORDER BY run_id
