-- What do the states of each block still tell of the facts, on the final weights?
-- $benchmark  VARCHAR    name of the benchmark
-- $models     VARCHAR[]  models to show; empty means all
-- $methods    VARCHAR[]  unlearning methods to show; empty means all
-- One row per complete run, measure of depth, split and block. value: mean over n examples in
-- groups, in unit, with a 95 % interval robust to groups; median: of the same. What each measure
-- is: docs/depth.md. block: from 0; NULL in a row about examples that have no value at any block,
-- with their number (missing) and the most frequent reason. is_last: the model's last block.
-- calibrated: of uds, whether the file holds the retain model, without which a drop says nothing of
-- knowledge; NULL for other methods.
WITH measured AS MATERIALIZED (
    SELECT chosen.run_id, chosen.model, chosen.method, chosen.never_knew,
        depth.method AS depth_method, measure, unit, block, value, reason, split, "group"
    FROM chosen_runs($benchmark, $models::VARCHAR[], $methods::VARCHAR[]) AS chosen
    JOIN depth ON depth.run_id = chosen.run_id
    LEFT JOIN example ON example.benchmark = chosen.benchmark
        AND example.data_hash = chosen.data_hash AND example.example_id = depth.example_id
), item AS (
    SELECT {'run_id': run_id, 'depth_method': depth_method, 'measure': measure, 'split': split,
        'block': block} AS cell, if(unit = 'fraction', 'share', 'measure') AS kind, "group", value,
        1 AS weight
    FROM measured WHERE value IS NOT NULL
), cell AS (
    SELECT run_id, model, method, never_knew, depth_method, measure, unit, split, block,
        median(value) AS median, count(*) FILTER (value IS NULL) AS missing, mode(reason) AS reason
    FROM measured GROUP BY ALL
)
SELECT cell.run_id, model, method, cell.depth_method, cell.measure, unit, cell.split, cell.block,
    cell.block = max(cell.block) OVER (PARTITION BY model) AS is_last,
    estimate AS value, low, high, coalesce(n, 0) AS n, coalesce(groups, 0) AS groups, median,
    missing, reason,
    if(cell.depth_method = 'uds', never_knew <> 'absent', NULL) AS calibrated
FROM cell
LEFT JOIN estimates('item') AS found
    ON found.cell.run_id = cell.run_id AND found.cell.depth_method = cell.depth_method
    AND found.cell.measure = cell.measure AND found.cell.split = cell.split
    AND found.cell.block = cell.block
ORDER BY cell.depth_method, cell.measure, cell.split, model, method, cell.run_id,
    cell.block NULLS LAST
