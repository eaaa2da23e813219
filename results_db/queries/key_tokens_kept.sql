-- How many of the base model's KeyTokens would be KeyTokens of each run?
-- $benchmark  VARCHAR    name of the benchmark
-- $models     VARCHAR[]  models to show; empty means all
-- $methods    VARCHAR[]  unlearning methods to show; empty means all
-- $attribution_method  VARCHAR  e.g. 'leave_one_out'
-- $target              VARCHAR  whose answer: 'gold', 'base_generation' or 'own_generation'
-- $answer_tokens       VARCHAR  which tokens of it: 'all' or 'novel'
-- One row per complete run and split (forget, retain). estimate: share of the KeyTokens of a prompt
-- that the same rule (alpha, beta and normalisation of the base model) finds among the contributions
-- on the run, in [0, 1], mean over the n examples that have KeyTokens, with a 95 % interval robust
-- to groups. by_chance: what as many tokens drawn from the question at random would share, the
-- run's KeyTokens / all question tokens, mean over the same examples. own_keys, base_keys: how many
-- KeyTokens a prompt has on the run and on the base model, means.
WITH chosen AS MATERIALIZED (
    FROM chosen_runs($benchmark, $models::VARCHAR[], $methods::VARCHAR[])
), prompt AS MATERIALIZED (
    SELECT {'run_id': found.run_id, 'split': split} AS cell, 'share' AS kind, "group",
        kept_keys / base_keys AS value, 1 AS weight, own_keys / question_tokens AS by_chance,
        own_keys, base_keys
    FROM example_focus AS found SEMI JOIN chosen ON chosen.run_id = found.run_id
    WHERE split IN ('forget', 'retain') AND method = $attribution_method AND target = $target
        AND answer_tokens = $answer_tokens AND base_keys > 0 AND own_keys IS NOT NULL
), mean AS (
    SELECT cell, avg(by_chance) AS by_chance, avg(own_keys) AS own_keys, avg(base_keys) AS base_keys
    FROM prompt GROUP BY cell
)
SELECT chosen.run_id, chosen.model, chosen.method, found.cell.split AS split, found.estimate,
    found.low, found.high, found.n, found.groups, by_chance, own_keys, base_keys
FROM estimates('prompt') AS found
JOIN mean ON mean.cell = found.cell
JOIN chosen ON chosen.run_id = found.cell.run_id
ORDER BY chosen.model, chosen.method, chosen.run_id, split
