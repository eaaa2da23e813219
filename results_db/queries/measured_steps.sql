-- At which steps was each run measured?
-- $benchmark  VARCHAR    name of the benchmark
-- $models     VARCHAR[]  models to show; empty means all
-- $methods    VARCHAR[]  unlearning methods to show; empty means all
-- One row per complete run and measured step. axis: what a curve runs over, step or alpha, and
-- axis_value the value on it. is_final: whether results are about this step. weight_change: L2 norm
-- of the difference to the base weights over the norm of those. measurement: version of the run.
SELECT chosen.run_id, chosen.model, chosen.method, checkpoint.step, axis, axis_value, is_final,
    checkpoint.weight_change, measurement
FROM chosen_runs($benchmark, $models::VARCHAR[], $methods::VARCHAR[]) AS chosen
JOIN checkpoint ON checkpoint.run_id = chosen.run_id
ORDER BY chosen.model, chosen.method, chosen.run_id, checkpoint.step
