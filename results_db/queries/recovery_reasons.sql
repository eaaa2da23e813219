-- Which attempts could not be made, and why?
-- $benchmark  VARCHAR    name of the benchmark
-- $models     VARCHAR[]  models to show; empty means all
-- $methods    VARCHAR[]  unlearning methods to show; empty means all
-- One row per strategy, arm and reason, over the final weights of the complete runs. reason: as
-- stored, with … for words that it quotes. attempts: with this reason; runs: that have one.
SELECT strategy, arm, regexp_replace(reason, '''[^'']*''', '…') AS reason, count(*) AS attempts,
    count(DISTINCT recovery.run_id) AS runs
FROM chosen_runs($benchmark, $models::VARCHAR[], $methods::VARCHAR[]) AS chosen
JOIN recovery ON recovery.run_id = chosen.run_id AND recovery.step = chosen.final_step
WHERE recovery.reason IS NOT NULL
GROUP BY ALL
ORDER BY strategy, placebo_rank(arm) NULLS FIRST, reason
