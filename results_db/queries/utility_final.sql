-- What can each run still do, beside its base model?
-- $benchmark  VARCHAR    name of the benchmark
-- $models     VARCHAR[]  models to show; empty means all
-- $methods    VARCHAR[]  unlearning methods to show; empty means all
-- One row per complete run and measure. measure: 'forget correct', 'retain correct', 'general
-- correct' (fraction of all questions of the split, in [0, 1]) or 'plain-text perplexity' (exp of
-- the mean negative log-likelihood per token, 1 or more, lower is better). low, high: 95 % interval
-- robust to groups. base_value: the base model's, over the same examples. ratio: run to base (of
-- perplexity, base to run), paired by example, 1 is as good as the base; NULL where the base model
-- has nothing right. guess_rate: mean share of wrong values that the answers would pass for; NULL
-- for perplexity.
WITH chosen AS MATERIALIZED (
    FROM chosen_runs($benchmark, $models::VARCHAR[], $methods::VARCHAR[])
), item AS MATERIALIZED (
    FROM utility_items('chosen', true)
), paired AS (
    SELECT run_id, measure, avg(base_value) AS base_mean, avg(guess_rate) AS guess_rate
    FROM item GROUP BY run_id, measure
)
SELECT chosen.run_id, chosen.model, chosen.method, found.measure, value, found.low, found.high,
    found.n, found.groups, if(is_nll, exp(base_mean), base_mean) AS base_value, ratio, guess_rate
FROM chosen
JOIN utility_values('item') AS found ON found.run_id = chosen.run_id
LEFT JOIN utility_ratios('item') AS ratio
    ON ratio.run_id = found.run_id AND ratio.measure = found.measure
LEFT JOIN paired ON paired.run_id = found.run_id AND paired.measure = found.measure
ORDER BY chosen.model, chosen.method, chosen.run_id, place NULLS LAST
