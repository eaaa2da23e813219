-- What were two runs made with, and where do they differ?
-- $first   VARCHAR  a run
-- $second  VARCHAR  a run; may be the same
-- One row per setting of either: what names the run, each value of its spec by its path, and what
-- it was computed with. first_value, second_value: as text, NULL where a run has no such setting.
-- differs: whether they are not the same. Those that differ come first.
WITH chosen AS (
    SELECT run.*, build.* EXCLUDE (build_id)
    FROM run JOIN build ON build.build_id = run.build_id WHERE run_id IN ($first, $second)
), leaf AS (
    SELECT run_id, unnest([
        {'place': 1, 'setting': 'benchmark', 'value': benchmark},
        {'place': 2, 'setting': 'model', 'value': model},
        {'place': 3, 'setting': 'method', 'value': method},
        {'place': 4, 'setting': 'seed', 'value': seed::VARCHAR},
        {'place': 6, 'setting': 'measurement version', 'value': measurement::VARCHAR},
        {'place': 6, 'setting': 'dtype', 'value': dtype},
        {'place': 6, 'setting': 'prompt format', 'value': prompt_format},
        {'place': 6, 'setting': 'hash of the data', 'value': data_hash},
        {'place': 7, 'setting': 'device', 'value': device},
        {'place': 7, 'setting': 'threads', 'value': threads::VARCHAR},
        {'place': 7, 'setting': 'python', 'value': python},
        {'place': 7, 'setting': 'platform', 'value': platform},
        {'place': 7, 'setting': 'commit', 'value': "commit"}
    ], recursive := true)
    FROM chosen
    UNION ALL
    SELECT run_id, 5, replace(tree.fullkey[3:], '"', ''), trim(tree.atom::VARCHAR, '"')
    FROM chosen, json_tree(chosen.spec::JSON) AS tree
    WHERE tree.atom IS NOT NULL
        AND tree.fullkey NOT IN ('$.seed', '$.method', '$.model_name', '$.benchmark.name',
            '$.measurement')
    UNION ALL
    SELECT run_id, 8, 'package ' || package, packages::JSON ->> package
    FROM (SELECT run_id, packages, unnest(json_keys(packages)) AS package FROM chosen)
), side AS (
    SELECT place, setting, any_value(value) FILTER (run_id = $first) AS first_value,
        any_value(value) FILTER (run_id = $second) AS second_value
    FROM leaf GROUP BY place, setting
)
SELECT setting, first_value, second_value, first_value IS DISTINCT FROM second_value AS differs
FROM side
WHERE first_value IS NOT NULL OR second_value IS NOT NULL
ORDER BY differs DESC, place, setting
