-- Which checks did the models of a run pass before anything was measured?
-- $run_id  VARCHAR  the run
-- One row per model of the run (measured, base) and check. passed: whether it did. allowed: whether
-- the user let the run go on although it did not. figure: what was measured, in the unit that note
-- says; NULL for a check without one. note: what was found, in words. No rows where none was made.
SELECT model, "check", passed, allowed, figure, note
FROM model_check
WHERE run_id = $run_id
ORDER BY model <> 'measured', model, passed, "check"
