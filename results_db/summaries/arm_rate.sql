-- How often answers are correct under one arm of one strategy, over what the base model knew.
-- run_id: The run.
-- strategy: The strategy, or any: correct under at least one.
-- arm: The arm; plain, treatment, placebo and resample for any.
-- n: Forget examples that the base model knew and that have an outcome, a count.
-- groups: Groups of these examples, a count.
-- residual: Correct of n, in [0, 1], of several draws their mean; NULL where n is 0.
-- residual_low: Lower end of its 95 % interval, robust to groups; NULL from one group.
-- residual_high: Upper end of that interval; NULL from one group.
-- forgotten: Of n, those not correct on the plain prompt, a count.
-- recovered: Of the forgotten, those correct here; a count, but of several draws their mean.
-- guess_rate: Mean share of wrong values that an answer would pass for, in [0, 1].
-- not_built: Attempts without an outcome, a count.
WITH outcome AS MATERIALIZED (
    FROM arm_outcomes('affected_known', 'affected_attempt', 'affected_outcome')
), outcome_value AS (
    SELECT {'run_id': run_id, 'strategy': strategy, 'arm': arm} AS cell, 'rate' AS kind, "group",
        correct AS value, 1 AS weight
    FROM outcome
), counted AS (
    SELECT run_id, strategy, arm,
        count(*) FILTER (forgotten AND correct IS NOT NULL) AS forgotten,
        coalesce(sum(correct) FILTER (forgotten), 0)::DOUBLE AS recovered,
        avg(guess_rate) AS guess_rate, sum(not_built)::BIGINT AS not_built
    FROM outcome GROUP BY run_id, strategy, arm
)
SELECT run_id, strategy, arm, coalesce(found.n, 0) AS n, coalesce(found.groups, 0) AS groups,
    found.estimate AS residual, found.low AS residual_low, found.high AS residual_high,
    forgotten, recovered, guess_rate, not_built
FROM counted
LEFT JOIN estimates('outcome_value') AS found ON found.cell.run_id = counted.run_id
    AND found.cell.strategy = counted.strategy AND found.cell.arm = counted.arm
