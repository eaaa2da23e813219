-- What are a run's values by example, by open-unlearning's names?
-- $run_id  VARCHAR  a run
-- One row per metric, part (of a membership attack: forget or holdout; else empty), key (what a row
-- of that project's files calls it) and example, on the final weights. value: as that project gives
-- it, which for truth ratios is not what is averaged.
WITH asked AS MATERIALIZED (FROM compared WHERE run_id = $run_id)
SELECT name, part, key, example_id, stored AS value, reason
FROM open_unlearning_items('asked')
ORDER BY name, part, example_id, key
