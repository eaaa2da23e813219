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
WITH chosen AS MATERIALIZED (
    FROM chosen_runs($benchmark, $models::VARCHAR[], $methods::VARCHAR[])
), outcome AS MATERIALIZED (
    FROM arm_outcomes('chosen')
), outcome_value AS (
    SELECT {'run_id': run_id, 'strategy': strategy, 'arm': arm} AS cell, 'rate' AS kind, "group",
        correct::INTEGER AS value, 1 AS weight
    FROM outcome
), counted AS (
    SELECT run_id, strategy, arm,
        count(*) FILTER (forgotten AND correct IS NOT NULL) AS forgotten,
        count(*) FILTER (forgotten AND correct) AS recovered,
        avg(guess_rate) AS guess_rate, sum(not_built)::BIGINT AS not_built
    FROM outcome GROUP BY run_id, strategy, arm
)
SELECT chosen.run_id, chosen.model, chosen.method, counted.strategy, counted.arm,
    coalesce(found.n, 0) AS n, coalesce(found.groups, 0) AS groups,
    found.estimate AS residual, found.low AS residual_low, found.high AS residual_high,
    forgotten, recovered, recovered / nullif(forgotten, 0) AS recovery_rate, guess_rate, not_built
FROM chosen
JOIN counted USING (run_id)
LEFT JOIN estimates('outcome_value') AS found ON found.cell.run_id = counted.run_id
    AND found.cell.strategy = counted.strategy AND found.cell.arm = counted.arm
ORDER BY chosen.model, chosen.method, chosen.run_id, counted.strategy = 'any', counted.strategy,
    list_position(
        ['plain', 'treatment', 'placebo', 'placebo_same', 'placebo_foreign', 'placebo_format'],
        counted.arm)
