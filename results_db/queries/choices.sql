-- What is there to choose from?
-- Takes no parameters.
-- One row per choice. kind: benchmark, measurement (version, of complete runs), data (versions of
-- the data, of the runs of the measurement version that is shown); of the runs of the versions that
-- are shown: model, method, seed, step (at which one that has several was measured),
-- attribution_method or strategy (of any of their rows). name: as stored. benchmark: where it is
-- one, so that a page offers no model or method that the chosen benchmark has not; for the kind
-- benchmark, itself.
WITH shown AS MATERIALIZED (
    SELECT benchmark, shown_measurement(benchmark) AS measurement,
        shown_data(benchmark) AS data_hash
    FROM (SELECT DISTINCT benchmark FROM compared)
), finished AS (
    SELECT run_id, benchmark, model, method, seed
    FROM run JOIN shown USING (benchmark, measurement, data_hash)
    WHERE status = 'complete'
)
SELECT 'benchmark' AS kind, benchmark AS name, benchmark FROM run WHERE status = 'complete'
UNION
SELECT 'measurement', measurement::VARCHAR, benchmark FROM run WHERE status = 'complete'
UNION
SELECT 'data', run.data_hash, benchmark FROM run JOIN shown USING (benchmark, measurement)
WHERE status = 'complete'
UNION
SELECT 'model', model, benchmark FROM finished
UNION
SELECT 'method', method, benchmark FROM finished
UNION
SELECT 'seed', seed::VARCHAR, benchmark FROM finished
UNION
SELECT 'step', unnest(steps)::VARCHAR, benchmark
FROM (
    SELECT run_id, list(step) AS steps FROM checkpoint WHERE axis = 'step'
    GROUP BY run_id HAVING count(*) > 1
) JOIN finished USING (run_id)
UNION
SELECT kind, name, benchmark FROM run_choice JOIN finished USING (run_id)
WHERE kind <> 'attribution_path'
ORDER BY kind, name, benchmark
