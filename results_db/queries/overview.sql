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
), outcome AS MATERIALIZED (
    FROM arm_outcomes('chosen') WHERE strategy = 'any'
), outcome_value AS (
    SELECT {'run_id': run_id, 'arm': arm} AS cell, 'rate' AS kind, "group",
        correct::INTEGER AS value, 1 AS weight
    FROM outcome
), rate AS MATERIALIZED (
    FROM estimates('outcome_value')
), guessing AS (
    SELECT run_id, avg(guess_rate) AS guess_rate FROM outcome WHERE arm = 'plain' GROUP BY run_id
), item AS (
    FROM utility_items('chosen', true)
), ratio AS (
    FROM utility_ratios('item')
)
SELECT chosen.run_id, chosen.model, chosen.method,
    coalesce(plain.n, 0) AS n, coalesce(plain.groups, 0) AS groups,
    plain.estimate AS plain, plain.low AS plain_low, plain.high AS plain_high,
    emphasis.estimate AS any_emphasis, emphasis.low AS any_emphasis_low,
    emphasis.high AS any_emphasis_high,
    placebo.estimate AS any_placebo, placebo.low AS any_placebo_low,
    placebo.high AS any_placebo_high, guess_rate, utility, least.low AS utility_low, least.high AS utility_high,
    worst AS utility_worst, weight_change
FROM chosen
LEFT JOIN rate AS plain ON plain.cell = {'run_id': chosen.run_id, 'arm': 'plain'}
LEFT JOIN rate AS emphasis ON emphasis.cell = {'run_id': chosen.run_id, 'arm': 'treatment'}
LEFT JOIN rate AS placebo ON placebo.cell = {'run_id': chosen.run_id, 'arm': 'placebo'}
LEFT JOIN guessing ON guessing.run_id = chosen.run_id
LEFT JOIN least_utility('ratio') AS least ON least.run_id = chosen.run_id
ORDER BY chosen.model, chosen.method, chosen.run_id
