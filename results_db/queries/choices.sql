-- What is there to choose from?
-- Takes no parameters.
-- One row per choice. kind: benchmark, model, method, seed (of complete runs), step (at
-- which one that has several was measured), attribution_method or strategy (of any of their rows). name: as stored. benchmark: where it is one, so that a page
-- offers no model or method that the chosen benchmark has not; for the kind benchmark, itself.
WITH finished AS (
    SELECT run_id, benchmark, model, method, seed FROM run WHERE status = 'complete'
)
SELECT 'benchmark' AS kind, benchmark AS name, benchmark FROM finished
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
