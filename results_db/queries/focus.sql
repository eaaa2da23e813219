-- Did unlearning draw the model's focus away from the KeyTokens of the prompt?
-- $benchmark  VARCHAR    name of the benchmark
-- $models     VARCHAR[]  models to show; empty means all
-- $methods    VARCHAR[]  unlearning methods to show; empty means all
-- $attribution_method  VARCHAR  e.g. 'leave_one_out'
-- $target              VARCHAR  whose answer: 'gold', 'base_generation' or 'own_generation'
-- $answer_tokens       VARCHAR  which tokens of it: 'all' or 'novel'
-- $minimum_nats        DOUBLE   no focus below this sum of positive contributions, e.g. 0.05
-- One row per complete run and split (forget, retain). focus: sum of positive contributions of
-- KeyTokens / of all question tokens, a fraction in [0, 1], mean over the n examples where it is
-- defined on both the base model (before) and the run (after); `undefined` counts the others.
-- shift: after - before, with a 95 % interval, paired and robust to groups. key_contribution: sum
-- of the contributions of KeyTokens, nats per answer token, mean over all examples attributed on
-- both: a share of nearly nothing is noise.
WITH chosen AS MATERIALIZED (
    FROM chosen_runs($benchmark, $models::VARCHAR[], $methods::VARCHAR[])
), pair AS MATERIALIZED (
    FROM focus_pairs('chosen', $attribution_method, $target, $answer_tokens, $minimum_nats)
), shift AS (
    SELECT {'run_id': run_id, 'split': split} AS cell, 'measure' AS kind, "group",
        focus_after - focus_before AS value, 1 AS weight
    FROM pair
), summary AS (
    SELECT run_id, model, method, split, focus_before, focus_after, key_before, key_after,
        focus_before IS NOT NULL AND focus_after IS NOT NULL AS defined
    FROM pair
)
SELECT run_id, model, method, split, count(*) FILTER (defined) AS n,
    coalesce(any_value(found.groups), 0) AS groups,
    avg(focus_before) FILTER (defined) AS focus_before,
    avg(focus_after) FILTER (defined) AS focus_after,
    any_value(found.estimate) AS shift, any_value(found.low) AS shift_low,
    any_value(found.high) AS shift_high,
    avg(key_before) AS key_contribution_before, avg(key_after) AS key_contribution_after,
    count(*) FILTER (NOT defined) AS undefined
FROM summary
LEFT JOIN estimates('shift') AS found
    ON found.cell.run_id = summary.run_id AND found.cell.split = summary.split
WHERE split IN ('forget', 'retain')
GROUP BY run_id, model, method, split
ORDER BY model, method, run_id, split
