-- Does a loss on fact words alone cost less, at equal forgetting, than one on other tokens?
-- $benchmark  VARCHAR    name of the benchmark
-- $models     VARCHAR[]  models to show; empty means all
-- $methods    VARCHAR[]  unlearning methods to show; empty means all
-- $max_gap    DOUBLE     by how much the two may differ in forget answers correct, in [0, 1]
-- One row per measure, run with penalise = 'fact_words' and partner: the runs with 'all' and with
-- 'random' (other_penalise), other settings, seed and base model the same. Compared are the two measured steps, one of each,
-- that forgot most (least mean fraction of forget answers correct) among those within max_gap of
-- each other; without such a pair, one row whose measure is NULL. step, other_step: these steps, of
-- the run and of its partner. forget, other_forget: fraction of forget answers correct there.
-- measure: 'retain correct', 'general correct' (fraction) or 'plain-text nll' (nats per token).
-- difference: run minus partner, paired by example; of answers correct above 0 is better, of nll
-- below 0 is. low, high: 95 % interval robust to groups.
WITH chosen AS MATERIALIZED (
    SELECT chosen.*, run.seed, run.spec
    FROM chosen_runs($benchmark, $models::VARCHAR[], $methods::VARCHAR[]) AS chosen
    JOIN run ON run.run_id = chosen.run_id
), kind AS (
    SELECT *, coalesce(spec ->> '$.settings.penalise', 'all') AS penalise,
        json_merge_patch(spec, '{"settings": {"penalise": null}}')::VARCHAR AS rest
    FROM chosen
), pair AS (
    SELECT own.run_id, own.model, own.method, own.seed, own.benchmark, own.data_hash,
        other.penalise AS other_penalise, min(other.run_id) AS other_run_id
    FROM kind AS own
    JOIN kind AS other ON other.rest = own.rest AND other.base_run_id = own.base_run_id
        AND other.penalise IN ('all', 'random')
    WHERE own.penalise = 'fact_words'
    GROUP BY own.run_id, own.model, own.method, own.seed, own.benchmark,
        own.data_hash, other.penalise
), level AS (
    SELECT run_id, step, value AS forget
    FROM utility_measure SEMI JOIN chosen USING (run_id)
    WHERE measure = 'forget correct' AND step > 0
), matched AS (
    SELECT pair.run_id, other_penalise, own.step, other.step AS other_step, own.forget,
        other.forget AS other_forget
    FROM pair
    JOIN level AS own ON own.run_id = pair.run_id
    JOIN level AS other ON other.run_id = pair.other_run_id
    WHERE abs(own.forget - other.forget) <= $max_gap
    QUALIFY row_number() OVER (PARTITION BY pair.run_id, other_penalise
        ORDER BY own.forget + other.forget,
        abs(own.forget - other.forget), own.step, other.step) = 1
), measured AS MATERIALIZED (
    FROM measurements() SEMI JOIN (
        SELECT run_id FROM matched UNION ALL SELECT other_run_id FROM pair
    ) AS compared_pair USING (run_id)
), paired AS (
    SELECT {
            'run_id': pair.run_id, 'other_penalise': pair.other_penalise,
            'measure': if(own.is_nll, 'plain-text nll', example.split || ' correct')
        } AS cell,
        if(own.is_nll, 'measure', 'change') AS kind, example."group",
        own.value - other.value AS value, 1 AS weight
    FROM matched
    JOIN pair ON pair.run_id = matched.run_id AND pair.other_penalise = matched.other_penalise
    JOIN measured AS own ON own.run_id = pair.run_id AND own.step = matched.step
    JOIN measured AS other ON other.run_id = pair.other_run_id
        AND other.step = matched.other_step AND other.example_id = own.example_id
        AND other.is_nll = own.is_nll
    JOIN example ON example.benchmark = pair.benchmark AND example.data_hash = pair.data_hash
        AND example.example_id = own.example_id
    WHERE own.is_nll OR example.split IN ('retain', 'general')
)
SELECT pair.run_id, pair.model, pair.method, pair.seed, pair.other_penalise, pair.other_run_id,
    matched.step, matched.other_step, matched.forget, matched.other_forget, found.cell.measure AS measure,
    found.estimate AS difference, found.low, found.high, found.n, found.groups
FROM pair
LEFT JOIN matched ON matched.run_id = pair.run_id
    AND matched.other_penalise = pair.other_penalise
LEFT JOIN estimates('paired') AS found ON found.cell.run_id = pair.run_id
    AND found.cell.other_penalise = pair.other_penalise
ORDER BY pair.model, pair.method, pair.run_id, pair.other_penalise, measure DESC
