-- How far apart are two runs, or two steps of one, on everything that was measured on both?
-- $first        VARCHAR  a run
-- $first_step   INTEGER  a measured step of it
-- $second       VARCHAR  a run; may be the same
-- $second_step  INTEGER  a measured step of it
-- $attribution_method  VARCHAR  e.g. 'leave_one_out'
-- $target              VARCHAR  whose answer: 'gold', 'base_generation' or 'own_generation'
-- $answer_tokens       VARCHAR  which tokens of it: 'all' or 'novel'
-- $minimum_nats        DOUBLE   no focus below this sum of positive contributions, e.g. 0.05
-- One row per section (answers, utility, recovery, focus) and measure, in its unit. first_value,
-- second_value: means over the n examples that have a value on both sides; difference: second -
-- first, with a 95 % interval, paired by example and robust to groups. unpaired: examples with a
-- value on one side alone. A utility of a whole task has no n and no interval. reason: why there is
-- no difference; NULL where there is one. Recovery is over all forget examples that were tried,
-- draw 0; focus is stored at final steps. No rows for runs of different measurement
-- versions, or versions of the data.
WITH side AS MATERIALIZED (
    SELECT unnest([1, 2]) AS side, unnest([$first, $second]) AS run_id,
        unnest([$first_step::INTEGER, $second_step::INTEGER]) AS step
), compared_side AS MATERIALIZED (
    SELECT side, side.run_id, side.step, benchmark, data_hash, final_step
    FROM side JOIN compared USING (run_id)
    QUALIFY min(measurement) OVER () = max(measurement) OVER ()
        AND min(data_hash) OVER () = max(data_hash) OVER ()
), answered AS (
    SELECT side, benchmark, data_hash, split, answer.example_id, unnest([
        {'measure': 'correct', 'unit': 'fraction', 'kind': 'change',
            'value': correct::INTEGER::DOUBLE},
        {'measure': 'ROUGE-L recall', 'unit': 'fraction', 'kind': 'measure',
            'value': rouge_l_recall},
        {'measure': 'log p of gold', 'unit': 'nats per token', 'kind': 'measure',
            'value': logprob}
    ]) AS one
    FROM compared_side JOIN answer USING (run_id, step)
    JOIN example USING (benchmark, data_hash, example_id)
), focused AS (
    SELECT side, benchmark, data_hash, split, example_id, unnest([
        {'measure': 'focus', 'unit': 'fraction',
            'value': focus_share(on_keys, on_question, $minimum_nats)},
        {'measure': 'contribution of KeyTokens', 'unit': 'nats per answer token',
            'value': key_contribution}
    ]) AS one
    FROM compared_side JOIN example_focus USING (run_id)
    WHERE step = final_step AND method = $attribution_method AND target = $target
        AND answer_tokens = $answer_tokens
), item AS MATERIALIZED (
    SELECT side, benchmark, data_hash, 'answers' AS section, split || ' ' || one.measure AS measure,
        one.unit AS unit, one.kind AS kind, example_id, one.value AS value
    FROM answered
    UNION ALL
    SELECT side, benchmark, data_hash, 'utility', task || ' ' || metric, unit, 'measure', example_id, value
    FROM compared_side JOIN utility USING (run_id, step) WHERE example_id IS NOT NULL
    UNION ALL
    SELECT side, benchmark, data_hash, 'recovery', strategy || ' ' || arm, 'fraction', 'change', example_id,
        correct::INTEGER::DOUBLE
    FROM compared_side JOIN recovery USING (run_id, step) WHERE draw = 0
    UNION ALL
    SELECT side, benchmark, data_hash, 'focus', split || ' ' || one.measure, one.unit, 'measure', example_id,
        one.value
    FROM focused
), pair AS MATERIALIZED (
    SELECT section, measure, unit, kind, example."group", first.value AS first_value,
        second.value AS second_value
    FROM (FROM item WHERE side = 1 AND value IS NOT NULL) AS first
    FULL JOIN (FROM item WHERE side = 2 AND value IS NOT NULL) AS second
        USING (benchmark, data_hash, section, measure, unit, kind, example_id)
    JOIN example USING (benchmark, data_hash, example_id)
), change AS (
    SELECT {'section': section, 'measure': measure, 'unit': unit} AS cell, kind, "group",
        second_value - first_value AS value, 1 AS weight
    FROM pair
), summary AS (
    SELECT section, measure, unit,
        avg(first_value) FILTER (second_value IS NOT NULL) AS first_value,
        avg(second_value) FILTER (first_value IS NOT NULL) AS second_value,
        count(*) FILTER (first_value IS NULL OR second_value IS NULL) AS unpaired
    FROM pair GROUP BY section, measure, unit
), whole AS (
    SELECT task || ' ' || metric AS measure, unit, any_value(value) FILTER (side = 1) AS first_value,
        any_value(value) FILTER (side = 2) AS second_value, any_value(reason) AS reason
    FROM compared_side JOIN utility USING (run_id, step) WHERE example_id IS NULL
    GROUP BY task, metric, unit
)
SELECT section, measure, unit, first_value, second_value, found.estimate AS difference,
    if(unit = 'fraction', greatest(found.low, -1), found.low) AS low,
    if(unit = 'fraction', least(found.high, 1), found.high) AS high, coalesce(found.n, 0) AS n,
    coalesce(found.groups, 0) AS groups, unpaired,
    if(found.n IS NULL, 'no example has a value on both sides', NULL) AS reason
FROM summary LEFT JOIN estimates('change') AS found
    ON found.cell.section = section AND found.cell.measure = measure AND found.cell.unit = unit
UNION ALL
SELECT 'utility', measure, unit, first_value, second_value, second_value - first_value, NULL, NULL,
    NULL, NULL, NULL,
    if(second_value - first_value IS NULL, coalesce(reason, 'measured on one side only'), NULL)
FROM whole
ORDER BY list_position(['answers', 'utility', 'recovery', 'focus'], section), unit,
    list_position(['forget', 'retain', 'holdout', 'general'], split_part(measure, ' ', 1)),
    lower(measure)
