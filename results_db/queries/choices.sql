-- What is there to choose from?
-- Takes no parameters.
-- One row per choice. kind: benchmark, measurement (version, of complete runs); of the runs of the
-- version that is shown: model, method, seed, step (at which one that has several was measured),
-- attribution_method or strategy (of any of their rows). name: as stored. benchmark: where it is
-- one, so that a page offers no model or method that the chosen benchmark has not; for the kind
-- benchmark, itself.
WITH finished AS (
    SELECT run_id, benchmark, model, method, seed
    FROM run
    JOIN (
        SELECT benchmark, coalesce(getvariable('measurement')::INTEGER, max(measurement)) AS shown
        FROM run WHERE status = 'complete' GROUP BY benchmark
    ) AS newest USING (benchmark)
    WHERE status = 'complete' AND measurement = shown
)
SELECT 'benchmark' AS kind, benchmark AS name, benchmark FROM run WHERE status = 'complete'
UNION
SELECT 'measurement', measurement::VARCHAR, benchmark FROM run WHERE status = 'complete'
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
