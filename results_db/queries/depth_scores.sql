-- How deep is each run's unlearning, by the states that it has in the base model's place?
-- $benchmark     VARCHAR    name of the benchmark
-- $models        VARCHAR[]  models to show; empty means all
-- $methods       VARCHAR[]  unlearning methods to show; empty means all
-- $minimum_drop  DOUBLE     blocks count whose S1 is above this, nats per token, e.g. 0.05
-- One row per complete run and source of the states. source: 'own', or on the base model 'another
-- question', a control that is about 1; the sham run's own score is the other control, about 0.
-- score: mean over n examples in groups of sum(S1 * clip(S2 / S1, 0, 1)) / sum(S1) over their
-- blocks with S1 above the minimum, in [0, 1], with a 95 % interval robust to groups. S2: drop of
-- the run, S1: of its retain model, both patched into the base model (docs/depth.md). 1: erased as
-- in the model that never knew, 0: still there. examples: with drops; no_block: of these, without
-- such a block in S1, NULL without a retain model. reason: why there is no score, such as no retain
-- model; NULL where there is one.
WITH chosen AS MATERIALIZED (
    FROM chosen_runs($benchmark, $models::VARCHAR[], $methods::VARCHAR[])
), lost AS MATERIALIZED (
    SELECT chosen.run_id, chosen.model, chosen.method, never_knew, never_run_id,
        chosen.benchmark, chosen.data_hash, depth.example_id, block, value, depth.reason,
        if(measure = 'drop', 'own', 'another question') AS source
    FROM chosen JOIN depth ON depth.run_id = chosen.run_id
    WHERE depth.method = 'uds' AND measure IN ('drop', 'drop_by_another_question')
), scored AS (
    SELECT lost.run_id, lost.source, lost.example_id, lost.benchmark, lost.data_hash,
        sum(never.value * greatest(0, least(1, lost.value / never.value))) / sum(never.value)
            AS score
    FROM lost
    JOIN depth AS never ON never.run_id = lost.never_run_id AND never.method = 'uds'
        AND never.measure = 'drop' AND never.example_id = lost.example_id
        AND never.block = lost.block
    WHERE never.value > $minimum_drop
    GROUP BY ALL
), item AS (
    SELECT {'run_id': run_id, 'source': source} AS cell, 'share' AS kind, "group", score AS value,
        1 AS weight
    FROM scored JOIN example USING (benchmark, data_hash, example_id)
), counted AS (
    SELECT run_id, model, method, source, never_knew, never_run_id,
        count(DISTINCT example_id) FILTER (value IS NOT NULL) AS examples, mode(reason) AS reason
    FROM lost GROUP BY ALL
)
SELECT counted.run_id, model, method, counted.source, estimate AS score, low, high,
    coalesce(n, 0) AS n, coalesce(groups, 0) AS groups, examples,
    if(never_knew = 'present', examples - coalesce(n, 0), NULL) AS no_block,
    CASE
        WHEN estimate IS NOT NULL THEN NULL
        WHEN never_knew = 'absent' THEN 'no retain model in the file: its drops are uncalibrated'
        WHEN never_knew = 'itself' THEN 'this is the retain model: its score is 1 by definition'
        WHEN examples = 0 THEN coalesce(reason, 'no example has a fact')
        WHEN never_run_id NOT IN (SELECT run_id FROM depth WHERE method = 'uds')
            THEN 'the retain run did not measure uds'
        ELSE 'no block at which the retain model lacks more than the minimum'
    END AS reason
FROM counted
LEFT JOIN estimates('item') AS found
    ON found.cell.run_id = counted.run_id AND found.cell.source = counted.source
ORDER BY model, method, counted.run_id, counted.source DESC
