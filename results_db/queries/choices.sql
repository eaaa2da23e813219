-- What is there to choose from?
-- Takes no parameters.
-- One row per choice. kind: benchmark, model, method (of complete runs), attribution_method or
-- strategy (of any of their rows). name: as stored.
WITH finished AS (
    SELECT run_id, benchmark, model, method FROM run WHERE status = 'complete'
)
SELECT 'benchmark' AS kind, benchmark AS name FROM finished
UNION
SELECT 'model', model FROM finished
UNION
SELECT 'method', method FROM finished
UNION
SELECT 'attribution_method', attribution.method
FROM attribution JOIN finished ON finished.run_id = attribution.run_id
UNION
SELECT 'strategy', strategy FROM recovery JOIN finished USING (run_id)
ORDER BY kind, name
