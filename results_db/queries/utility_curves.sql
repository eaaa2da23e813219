-- How did what the model can do move while unlearning?
-- $benchmark  VARCHAR    name of the benchmark
-- $models     VARCHAR[]  models to show; empty means all
-- $methods    VARCHAR[]  unlearning methods to show; empty means all
-- One row per complete run, measured step and measure. measure: 'forget correct', 'retain correct',
-- 'general correct' (fraction of all questions of the split, in [0, 1]) or 'plain-text perplexity'
-- (exp of the mean negative log-likelihood per token, 1 or more, lower is better). low, high: 95 %
-- interval robust to groups. axis_value: optimizer steps, or alpha where axis says so.
SELECT chosen.run_id, chosen.model, chosen.method, found.step, axis, axis_value, measure, value,
    low, high, n, groups, unit
FROM chosen_runs($benchmark, $models::VARCHAR[], $methods::VARCHAR[]) AS chosen
JOIN utility_measure AS found ON found.run_id = chosen.run_id
JOIN checkpoint ON checkpoint.run_id = found.run_id AND checkpoint.step = found.step
ORDER BY chosen.model, chosen.method, chosen.run_id, found.step, place NULLS LAST
