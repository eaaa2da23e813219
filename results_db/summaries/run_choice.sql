-- What a run offers to choose from.
-- run_id: The run.
-- kind: attribution_method, attribution_path (how its contributions were computed) or strategy.
-- name: As stored in attribution and recovery.
SELECT DISTINCT run_id, 'attribution_method' AS kind, attribution.method AS name
FROM attribution JOIN affected USING (run_id)
UNION ALL
SELECT DISTINCT run_id, 'attribution_path', attribution.method || ' ' || path
FROM attribution JOIN affected USING (run_id)
UNION ALL
SELECT DISTINCT run_id, 'strategy', strategy FROM recovery JOIN affected USING (run_id)
WHERE arm <> 'resample'
