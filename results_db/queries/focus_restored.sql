-- Does focus come back where the answer does?
-- $benchmark     VARCHAR    name of the benchmark
-- $models        VARCHAR[]  models to show; empty means all
-- $methods       VARCHAR[]  unlearning methods to show; empty means all
-- $minimum_nats  DOUBLE     no focus below this sum of positive contributions, e.g. 0.05
-- One row per complete run and outcome, over forgotten answers (wrong on the plain prompt) whose
-- emphasised prompt was attributed, all strategies together. outcome: 'recovered', 'not
-- recovered', or 'difference' between the two. focus: share of positive contribution on the words
-- of KeyTokens, in [0, 1], mean over n attempts: on the base model (focus_base, where it is
-- defined there) and on the run (focus_plain) under the plain prompt, on the run under the
-- emphasised one. change: emphasised - plain, paired, with a 95 % interval robust to groups; of
-- 'difference': change where recovered minus change where not; bounds are cut to what is possible.
-- An emphasised prompt may hold the words twice, which raises their share whatever the answer:
-- only the difference tells. attempts: with or without a defined focus. groups: of 'difference',
-- the fewer of the two outcomes'; is_enough: at least 8.
WITH attempt AS MATERIALIZED (
    SELECT chosen.run_id, chosen.model, chosen.method, found."group",
        if(found.correct, 'recovered', 'not recovered') AS outcome,
        focus_share(base_on_keys, base_on_question, $minimum_nats) AS base,
        focus_share(plain_on_keys, plain_on_question, $minimum_nats) AS plain,
        focus_share(on_keys, on_question, $minimum_nats) AS emphasised,
        emphasised - plain AS change
    FROM chosen_runs($benchmark, $models::VARCHAR[], $methods::VARCHAR[]) AS chosen
    JOIN restored_attempt AS found ON found.run_id = chosen.run_id
), known AS MATERIALIZED (
    SELECT *, avg(change) OVER outcomes AS mean, count(*) OVER outcomes AS size,
        count(*) OVER (PARTITION BY run_id) AS total
    FROM attempt WHERE change IS NOT NULL
    WINDOW outcomes AS (PARTITION BY run_id, outcome)
), contrast AS (
    SELECT run_id, max(mean) FILTER (outcome = 'recovered')
        - max(mean) FILTER (outcome = 'not recovered') AS difference
    FROM known GROUP BY run_id
), item AS (
    SELECT {'run_id': run_id, 'outcome': outcome} AS cell, 'measure' AS kind, "group",
        change AS value, 1 AS weight
    FROM known
    UNION ALL  -- the mean is the difference, and deviations from it are those of either mean
    SELECT {'run_id': run_id, 'outcome': 'difference'}, 'measure', "group",
        difference + if(outcome = 'recovered', 1, -1) * (change - mean) * total / size, 1
    FROM known JOIN contrast USING (run_id)
), counted AS (
    SELECT run_id, model, method, outcome, 1 AS widest, count(*) AS attempts,
        avg(base) FILTER (change IS NOT NULL) AS focus_base,
        avg(plain) FILTER (change IS NOT NULL) AS focus_plain,
        avg(emphasised) FILTER (change IS NOT NULL) AS focus_emphasised,
        count(DISTINCT "group") FILTER (change IS NOT NULL) AS groups
    FROM attempt GROUP BY ALL
    UNION ALL
    SELECT run_id, model, method, 'difference', 2, count(*), NULL, NULL, NULL,
        least(count(DISTINCT "group") FILTER (outcome = 'recovered' AND change IS NOT NULL),
            count(DISTINCT "group") FILTER (outcome = 'not recovered' AND change IS NOT NULL))
    FROM attempt GROUP BY run_id, model, method
)
SELECT counted.run_id, model, method, counted.outcome, attempts, coalesce(found.n, 0) AS n,
    counted.groups, focus_base, focus_plain, focus_emphasised, found.estimate AS change,
    greatest(found.low, -widest) AS change_low, least(found.high, widest) AS change_high,
    counted.groups >= 8 AS is_enough
FROM counted
LEFT JOIN estimates('item') AS found
    ON found.cell.run_id = counted.run_id AND found.cell.outcome = counted.outcome
ORDER BY model, method, counted.run_id,
    list_position(['recovered', 'not recovered', 'difference'], counted.outcome)
