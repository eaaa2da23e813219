-- What are a run's metrics, by open-unlearning's names?
-- $run_id  VARCHAR  a run
-- One row per metric, on the final weights. value: as that project defines it; NULL where a row lacks
-- one. n: examples, or parts, that it is over. reason: why there is no value.
WITH asked AS MATERIALIZED (FROM compared WHERE run_id = $run_id)
SELECT name, value, n, reason FROM open_unlearning_values('asked') ORDER BY name
