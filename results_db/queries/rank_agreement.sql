-- How much of the base model's ranking of prompt tokens does each run keep?
-- $benchmark  VARCHAR    name of the benchmark
-- $models     VARCHAR[]  models to show; empty means all
-- $methods    VARCHAR[]  unlearning methods to show; empty means all
-- $attribution_method  VARCHAR  e.g. 'leave_one_out'
-- $target              VARCHAR  whose answer; stored for 'gold'
-- $answer_tokens       VARCHAR  which tokens of it; stored for 'novel'
-- One row per complete run, split and measure (rank_correlation in [-1, 1], top_3_overlap in
-- [0, 1]), as the engine computed it when the run was published. low, high: 95 % interval,
-- cluster-robust by group; estimate is NULL with a reason where it is undefined.
WITH chosen AS (
    FROM chosen_runs($benchmark, $models::VARCHAR[], $methods::VARCHAR[])
), split AS (
    SELECT unnest(['forget', 'retain', 'general']) AS split
)
SELECT chosen.run_id, chosen.model, chosen.method, split.split, statistic.name AS measure,
    statistic.estimate, statistic.low, statistic.high, statistic.n, statistic.groups,
    statistic.definition, statistic.reason
FROM chosen
JOIN statistic ON statistic.run_id = chosen.run_id
JOIN split ON statistic.scope = format('split={} method={} target={} answer_tokens={}',
    split.split, $attribution_method, $target, $answer_tokens)
ORDER BY chosen.model, chosen.method, chosen.run_id, measure, split.split
