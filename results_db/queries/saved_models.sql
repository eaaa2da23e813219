-- Which runs have final weights in a folder?
-- One row per complete run with a saved final checkpoint, newest measurement version first. path:
-- folder.
SELECT r.run_id, r.benchmark, r.model, r.method, c.step, c.path, r.measurement, r.data_hash
FROM run AS r
JOIN checkpoint AS c ON c.run_id = r.run_id AND c.is_final
WHERE r.status = 'complete' AND c.path IS NOT NULL
ORDER BY r.measurement DESC, r.model, r.method, r.run_id
