-- How did the loss of a run move?
-- $run_id  VARCHAR  the run
-- One row per step. loss: before the update, as its method defines it. gradient_norm: L2, before
-- clipping. learning_rate: of the update. Each is NULL where a method has none.
SELECT run_id, step, loss, gradient_norm, learning_rate
FROM step WHERE run_id = $run_id
ORDER BY step
