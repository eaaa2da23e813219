-- How often does each emphasis bring an answer back, and how often do its placebos?
-- $benchmark  VARCHAR    name of the benchmark
-- $models     VARCHAR[]  models to show; empty means all
-- $methods    VARCHAR[]  unlearning methods to show; empty means all
-- One row per complete run, strategy and arm. Strategy 'any': correct under any of them, with the
-- arms plain, treatment, placebo (one draw of one placebo per strategy, so that as many stand
-- against as many) and resample (any of the answers drawn to the plain prompt, as strategy resample
-- shows them one by one). rung: 1 wording, 2 inside the model, 3 another prompt, 4 the weights; NULL
-- for any and resample. settings: JSON of the strategy. never_residual: residual of the same
-- strategy and arm on the retain model; NULL where there is none. n, groups: forget examples that the base model knew and that have an outcome. residual:
-- correct / n, comparable across methods, with a 95 % interval robust to groups. forgotten: of n,
-- not correct on the plain prompt; recovered: of those, correct here, of several draws the mean; recovery_rate: their ratio,
-- NULL when nothing was forgotten. guess_rate: mean share of wrong values that an answer would pass
-- for ('any': that one of the answers would). not_built: attempts without an outcome. All rates are
-- fractions in [0, 1].
SELECT chosen.run_id, chosen.model, chosen.method, tried.strategy, tried.arm, rung, settings,
    tried.n, tried.groups, tried.residual, tried.residual_low, tried.residual_high,
    tried.forgotten, tried.recovered,
    tried.recovered / nullif(tried.forgotten, 0) AS recovery_rate, tried.guess_rate,
    tried.not_built, never.residual AS never_residual
FROM chosen_runs($benchmark, $models::VARCHAR[], $methods::VARCHAR[]) AS chosen
JOIN arm_rate AS tried ON tried.run_id = chosen.run_id
LEFT JOIN recovery_strategy AS known
    ON known.run_id = tried.run_id AND known.strategy = tried.strategy
LEFT JOIN arm_rate AS never ON never.run_id = chosen.never_run_id
    AND never.strategy = tried.strategy AND never.arm = tried.arm
ORDER BY chosen.model, chosen.method, chosen.run_id, tried.strategy = 'any', rung NULLS LAST,
    tried.strategy, list_position(['plain', 'treatment', 'placebo', 'placebo_same',
    'placebo_foreign', 'placebo_format', 'resample'], tried.arm)
