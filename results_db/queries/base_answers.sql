-- What did the base model answer to the plain questions?
-- $run_id  VARCHAR  a complete run whose method is none
-- One row per example, at the run's final step.
SELECT a.example_id, a.text
FROM answer AS a
JOIN checkpoint AS c ON c.run_id = a.run_id AND c.step = a.step AND c.is_final
WHERE a.run_id = $run_id
ORDER BY a.example_id
