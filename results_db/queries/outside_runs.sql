-- Which evaluations of a benchmark were made elsewhere?
-- $benchmark  VARCHAR  name of the benchmark; a file of MUSE is of each of its parts
-- One row per evaluation. name: as it was called. kind: EVAL (with values by row) or SUMMARY. source,
-- sha256: the file. metrics: how many it has. None of them is in a verdict, interval or ranking.
SELECT outside_id, outside.name, project, outside.benchmark, kind, source, sha256, metrics, imported_at
FROM outside_run AS outside
JOIN (
    SELECT outside_id, count(DISTINCT metric) AS metrics FROM outside_metric GROUP BY outside_id
) USING (outside_id)
WHERE $benchmark = outside.benchmark OR starts_with($benchmark, outside.benchmark || '-')
ORDER BY outside.name
