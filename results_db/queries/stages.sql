-- How long did each stage of a run take?
-- $run_id  VARCHAR  the run
-- One row per stage, in the order of the run. seconds: wall time. Of none
-- and retrain the first is the training of their model, which is not part of the run's own time.
SELECT run_id, stage, seconds FROM stage WHERE run_id = $run_id ORDER BY rowid
