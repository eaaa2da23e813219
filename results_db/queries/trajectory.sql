-- How did forgetting, recovery and utility move while unlearning?
-- $benchmark  VARCHAR    name of the benchmark
-- $models     VARCHAR[]  models to show; empty means all
-- $methods    VARCHAR[]  unlearning methods to show; empty means all
-- One row per complete run and measured step. axis_value: optimizer steps, or alpha where axis says
-- so. plain, emphasis, placebo: fractions of the forget examples that the base model knew (n of
-- them) that are correct now: on the plain prompt, under the strategy's treatment, under its
-- placebo (the same prompt's words, else foreign ones, else the format). strategy: per model, the
-- one measured at most steps. utility: least ratio to the base model, utility_worst what it is the
-- ratio of, with a 95 % interval robust to groups; all NULL at a step where a part is missing that
-- is measured at the final one. weight_change: L2 norm of the difference to the base weights over
-- the norm of those.
WITH chosen AS MATERIALIZED (
    FROM chosen_runs($benchmark, $models::VARCHAR[], $methods::VARCHAR[])
), tracked AS (
    SELECT model, strategy
    FROM strategy_step
    JOIN chosen_runs($benchmark, NULL::VARCHAR[], NULL::VARCHAR[]) AS shown USING (run_id)
    WHERE has_treatment
    GROUP BY model, strategy
    QUALIFY row_number() OVER (PARTITION BY model ORDER BY count(*) DESC, strategy) = 1
), measured AS (
    SELECT run_id, step, measure, ratio, ratio_low AS low, ratio_high AS high,
        ratio_groups AS groups
    FROM utility_measure SEMI JOIN chosen ON chosen.run_id = utility_measure.run_id
), whole AS (
    SELECT least.*
    FROM least_utility('measured') AS least JOIN chosen ON chosen.run_id = least.run_id
    QUALIFY measures = max(measures) FILTER (step = final_step) OVER (PARTITION BY least.run_id)
)
SELECT chosen.run_id, chosen.model, chosen.method, checkpoint.step, axis, axis_value, is_final,
    plain, emphasis, placebo, if(shown.n > 0, shown.strategy, NULL) AS strategy, utility,
    whole.low AS utility_low, whole.high AS utility_high, worst AS utility_worst,
    checkpoint.weight_change, coalesce(plain_step.n, 0) AS n
FROM chosen
JOIN checkpoint ON checkpoint.run_id = chosen.run_id
LEFT JOIN plain_step ON plain_step.run_id = chosen.run_id AND plain_step.step = checkpoint.step
LEFT JOIN tracked ON tracked.model = chosen.model
LEFT JOIN strategy_step AS shown ON shown.run_id = chosen.run_id
    AND shown.step = checkpoint.step AND shown.strategy = tracked.strategy
LEFT JOIN whole ON whole.run_id = chosen.run_id AND whole.step = checkpoint.step
ORDER BY chosen.model, chosen.method, chosen.run_id, checkpoint.step
