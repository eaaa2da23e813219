-- How often does each emphasis bring an answer back, and how often do its placebos?
-- $benchmark  VARCHAR    name of the benchmark
-- $models     VARCHAR[]  models to show; empty means all
-- $methods    VARCHAR[]  unlearning methods to show; empty means all
-- One row per complete run, strategy and arm. Strategy 'any': correct under any of them, with the
-- arms plain, treatment and placebo (one placebo per strategy, so that as many stand against as
-- many). n, groups: forget examples that the base model knew and that have an outcome. residual:
-- correct / n, comparable across methods, with a 95 % interval robust to groups. forgotten: of n,
-- not correct on the plain prompt; recovered: of those, correct here; recovery_rate: their ratio,
-- NULL when nothing was forgotten. guess_rate: mean share of wrong values that an answer would pass
-- for ('any': that one of the answers would). not_built: attempts without an outcome. All rates are
-- fractions in [0, 1].
SELECT chosen.run_id, chosen.model, chosen.method, strategy, arm, n, groups, residual, residual_low,
    residual_high, forgotten, recovered, recovered / nullif(forgotten, 0) AS recovery_rate,
    guess_rate, not_built
FROM chosen_runs($benchmark, $models::VARCHAR[], $methods::VARCHAR[]) AS chosen
JOIN arm_rate ON arm_rate.run_id = chosen.run_id
ORDER BY chosen.model, chosen.method, chosen.run_id, strategy = 'any', strategy, list_position(
    ['plain', 'treatment', 'placebo', 'placebo_same', 'placebo_foreign', 'placebo_format'], arm)
