-- Which attempts could not be made, and why?
-- $benchmark  VARCHAR    name of the benchmark
-- $models     VARCHAR[]  models to show; empty means all
-- $methods    VARCHAR[]  unlearning methods to show; empty means all
-- One row per strategy, arm and reason, over the final weights of the complete runs. reason: as
-- stored, with … for words that it quotes and # for numbers. attempts: with this reason; runs: that have one.
WITH refused AS (
    SELECT recovery.run_id, strategy, arm, placebo_rank(arm) AS place,
        regexp_replace(regexp_replace(reason, '''[^'']*''', '…'), '[0-9]+', '#', 'g') AS reason
    FROM chosen_runs($benchmark, $models::VARCHAR[], $methods::VARCHAR[]) AS chosen
    JOIN recovery ON recovery.run_id = chosen.run_id AND recovery.step = chosen.final_step
    WHERE recovery.reason IS NOT NULL
)
SELECT strategy, arm, reason, count(*) AS attempts, count(DISTINCT run_id) AS runs
FROM refused
GROUP BY strategy, arm, place, reason
ORDER BY strategy, place NULLS FIRST, reason
