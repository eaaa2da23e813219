-- What does each metric of each task say about a run's final weights?
-- $benchmark  VARCHAR    name of the benchmark
-- $models     VARCHAR[]  models to show; empty means all
-- $methods    VARCHAR[]  unlearning methods to show; empty means all
-- One row per complete run, task, metric and split. value: mean over n examples in groups, in unit,
-- with a 95 % interval robust to groups. base_value: the base model's over the same examples.
-- drift: value minus the base model's, paired by example, with its interval. missing: examples
-- without a value, and the most frequent reason. What each metric is: docs/metrics.md.
SELECT chosen.run_id, chosen.model, chosen.method, task, metric, split, value, low, high, n, groups,
    unit, higher_is_better, base_value, drift, drift_low, drift_high, missing, reason
FROM chosen_runs($benchmark, $models::VARCHAR[], $methods::VARCHAR[]) AS chosen
JOIN metric_value AS found ON found.run_id = chosen.run_id
ORDER BY chosen.model, chosen.method, chosen.run_id, task, metric, split
