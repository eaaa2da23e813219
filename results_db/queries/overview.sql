-- What did each run forget, what does emphasis bring back, and what did it cost?
-- $benchmark  VARCHAR    name of the benchmark
-- $models     VARCHAR[]  models to show; empty means all
-- $methods    VARCHAR[]  unlearning methods to show; empty means all
-- One row per complete run. n, groups: examples of the forget split that its base model knew, and
-- their groups; all rates are over them, fractions in [0, 1] with 95 % intervals robust to groups.
-- plain: still correct. any_emphasis: correct under any strategy; any_placebo: under any strategy's
-- placebo, one per strategy. guess_rate: mean share of wrong values that the plain answers would
-- pass for. utility: least ratio to the base model, and utility_worst what it is the ratio of.
-- weight_change: L2 norm of the difference to the base weights over the norm of those.
WITH chosen AS MATERIALIZED (
    FROM chosen_runs($benchmark, $models::VARCHAR[], $methods::VARCHAR[])
), final AS (
    SELECT run_id, step, measure, ratio, ratio_low AS low, ratio_high AS high,
        ratio_groups AS groups
    FROM utility_measure SEMI JOIN chosen
        ON chosen.run_id = utility_measure.run_id AND chosen.final_step = utility_measure.step
)
SELECT chosen.run_id, chosen.model, chosen.method,
    coalesce(plain.n, 0) AS n, coalesce(plain.groups, 0) AS groups,
    plain.residual AS plain, plain.residual_low AS plain_low, plain.residual_high AS plain_high,
    emphasis.residual AS any_emphasis, emphasis.residual_low AS any_emphasis_low,
    emphasis.residual_high AS any_emphasis_high,
    placebo.residual AS any_placebo, placebo.residual_low AS any_placebo_low,
    placebo.residual_high AS any_placebo_high, plain.guess_rate, utility, least.low AS utility_low,
    least.high AS utility_high, worst AS utility_worst, weight_change
FROM chosen
LEFT JOIN arm_rate AS plain ON plain.run_id = chosen.run_id AND plain.strategy = 'any'
    AND plain.arm = 'plain'
LEFT JOIN arm_rate AS emphasis ON emphasis.run_id = chosen.run_id AND emphasis.strategy = 'any'
    AND emphasis.arm = 'treatment'
LEFT JOIN arm_rate AS placebo ON placebo.run_id = chosen.run_id AND placebo.strategy = 'any'
    AND placebo.arm = 'placebo'
LEFT JOIN least_utility('final') AS least ON least.run_id = chosen.run_id
ORDER BY chosen.model, chosen.method, chosen.run_id
