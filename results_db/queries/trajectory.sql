-- How did forgetting, recovery and utility move while unlearning?
-- $benchmark  VARCHAR    name of the benchmark
-- $models     VARCHAR[]  models to show; empty means all
-- $methods    VARCHAR[]  unlearning methods to show; empty means all
-- One row per complete run and measured step. axis_value: optimizer steps, or alpha where axis says
-- so. plain, emphasis, placebo: fractions of the forget examples that the base model knew (n of
-- them) that are correct now: on the plain prompt, under the strategy's treatment, under its
-- placebo (the same prompt's words, else foreign ones, else the format). strategy: per model, the
-- one measured at most steps. utility: least ratio to the base model; NULL at a step where a part
-- is missing that is measured at the final one.
WITH chosen AS MATERIALIZED (
    FROM chosen_runs($benchmark, $models::VARCHAR[], $methods::VARCHAR[])
), known AS MATERIALIZED (
    SELECT run_id, example_id FROM known_facts('chosen')
), answered AS (
    SELECT run_id, step, count(*) AS n, avg(correct::INTEGER) AS plain
    FROM answer JOIN known USING (run_id, example_id)
    GROUP BY run_id, step
), tracked AS (
    SELECT model, strategy
    FROM run JOIN recovery USING (run_id)
    WHERE status = 'complete' AND benchmark = $benchmark AND draw = 0 AND arm = 'treatment'
    GROUP BY model, strategy
    QUALIFY row_number() OVER (
        PARTITION BY model
        ORDER BY count(DISTINCT {'run': recovery.run_id, 'step': step}) DESC, strategy
    ) = 1
), attempt AS (
    SELECT recovery.run_id, step, recovery.strategy,
        bool_or(correct) FILTER (arm = 'treatment') AS treatment,
        arg_min(correct, placebo_rank(arm)) FILTER (arm <> 'treatment' AND correct IS NOT NULL)
            AS placebo
    FROM known
    JOIN recovery USING (run_id, example_id)
    JOIN run USING (run_id)
    JOIN tracked ON tracked.model = run.model AND tracked.strategy = recovery.strategy
    WHERE draw = 0
    GROUP BY recovery.run_id, step, example_id, recovery.strategy
), recovered AS (
    SELECT run_id, step, strategy, avg(treatment::INTEGER) AS emphasis,
        avg(placebo::INTEGER) AS placebo
    FROM attempt GROUP BY run_id, step, strategy
), item AS (
    FROM utility_items('chosen', false)
), ratio AS (
    FROM utility_ratios('item')
)
SELECT chosen.run_id, chosen.model, chosen.method, checkpoint.step, axis, axis_value, is_final,
    plain, emphasis, placebo, strategy,
    if(measures = max(measures) FILTER (is_final) OVER (PARTITION BY chosen.run_id), utility, NULL)
        AS utility,
    coalesce(n, 0) AS n
FROM chosen
JOIN checkpoint ON checkpoint.run_id = chosen.run_id
LEFT JOIN answered ON answered.run_id = chosen.run_id AND answered.step = checkpoint.step
LEFT JOIN recovered ON recovered.run_id = chosen.run_id AND recovered.step = checkpoint.step
LEFT JOIN least_utility('ratio') AS least
    ON least.run_id = chosen.run_id AND least.step = checkpoint.step
ORDER BY chosen.model, chosen.method, chosen.run_id, checkpoint.step
