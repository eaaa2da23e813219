-- What does emphasis bring back beyond its placebo, and beyond a model that never knew?
-- $benchmark  VARCHAR    name of the benchmark
-- $models     VARCHAR[]  models to show; empty means all
-- $methods    VARCHAR[]  unlearning methods to show; empty means all
-- One row per complete run and strategy, with 'any'. effect: mean over n forget examples that the
-- base model knew of (treatment - placebo) on the run minus the same on its retain run, -2 to 2,
-- above 0 in favour of emphasis, with a 95 % interval paired and robust to groups. placebo_arm:
-- placebo_same, else placebo_foreign, with shares where both were used. never_knew: present; absent
-- (no retain run, nothing subtracted); itself (this is the retain run, nothing subtracted).
WITH chosen AS MATERIALIZED (
    FROM chosen_runs($benchmark, $models::VARCHAR[], $methods::VARCHAR[])
)
SELECT run_id, model, method, strategy, effect, effect_low, effect_high, n, groups, placebo_arm,
    never_knew
FROM run_effects('chosen')
ORDER BY model, method, run_id, strategy = 'any', strategy
