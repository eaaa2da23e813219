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
    SELECT {'run_id': run_id, 'split': split} AS cell, pair.*
    FROM focus_pairs('chosen', $attribution_method, $target, $answer_tokens, $minimum_nats) AS pair
    WHERE split IN ('forget', 'retain')
)
SELECT chosen.run_id, chosen.model, chosen.method, found.cell.split AS split,
    found.* EXCLUDE (cell)
FROM focus_summary('pair') AS found
JOIN chosen ON chosen.run_id = found.cell.run_id
ORDER BY chosen.model, chosen.method, chosen.run_id, split
