-- Were the compared runs made under the same conditions?
-- $benchmark  VARCHAR    name of the benchmark
-- $models     VARCHAR[]  models to show; empty means all
-- $methods    VARCHAR[]  unlearning methods to show; empty means all
-- One row per condition that differs between complete runs; no row when all are comparable.
-- condition: dtype, prompt format, data, weights of the base model (of one model), attribution
-- path (of one method), device, threads, python, platform, commit, or a package by its name.
-- found: the values, the most frequent first, with the number of runs of each. warning: one
-- sentence to show beside the comparison.
WITH chosen AS (
    SELECT run.*
    FROM run SEMI JOIN chosen_runs($benchmark, $models::VARCHAR[], $methods::VARCHAR[]) AS chosen
        ON chosen.run_id = run.run_id
), computed AS (
    SELECT chosen.run_id, build.*
    FROM chosen JOIN build ON build.build_id = chosen.build_id
), packaged AS (
    SELECT run_id, packages, unnest(json_keys(packages)) AS package FROM computed
), value AS (
    SELECT run_id, 'dtype' AS condition, dtype AS value FROM chosen
    UNION ALL SELECT run_id, 'prompt format of ' || model, prompt_format FROM chosen
    UNION ALL SELECT run_id, 'data', data_hash FROM chosen
    UNION ALL
    SELECT chosen.run_id, 'base weights of ' || model || ', seed ' || seed, weight_hash
    FROM chosen JOIN checkpoint
        ON checkpoint.run_id = chosen.base_run_id AND checkpoint.is_final
    UNION ALL
    SELECT run_id, 'attribution path of ' || split_part(name, ' ', 1),
        string_agg(split_part(name, ' ', 2), '+' ORDER BY name)
    FROM run_choice SEMI JOIN chosen USING (run_id)
    WHERE kind = 'attribution_path' GROUP BY run_id, split_part(name, ' ', 1)
    UNION ALL SELECT run_id, 'device', device FROM computed
    UNION ALL SELECT run_id, 'threads', threads::VARCHAR FROM computed
    UNION ALL SELECT run_id, 'python', python FROM computed
    UNION ALL SELECT run_id, 'platform', platform FROM computed
    UNION ALL SELECT run_id, 'commit', "commit" FROM computed
    UNION ALL SELECT run_id, package, packages ->> package FROM packaged
), counted AS (
    SELECT condition, value, count(*) AS runs
    FROM value WHERE value IS NOT NULL GROUP BY condition, value
)
SELECT condition, string_agg(format('{} ({} runs)', value, runs), ', ' ORDER BY runs DESC, value)
        AS found,
    format('These runs differ in {}: {}.', condition, found) AS warning
FROM counted
GROUP BY condition HAVING count(*) > 1
ORDER BY condition
