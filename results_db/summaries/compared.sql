-- A complete run and what it is compared with; the view compared_run, kept.
-- run_id: The run.
-- benchmark: Name of the benchmark.
-- model: Name of the model in the plan.
-- method: Name of the unlearning method.
-- base_run_id: The run of the base model.
-- final_step: The step that results are about; NULL without one.
-- weight_change: L2 norm of the difference to the base weights over the norm of those, at that step.
-- base_step: The final step of the base model; NULL where it is not in the file.
-- never_knew: Whether the retain run is in the file: present, absent, or itself for the retain run.
-- never_run_id: The retain run, where it is present.
-- measurement: Measurement version of the run, from 1.
-- data_hash: Version of the data of its benchmark.
-- started_at: When it started: UTC, ISO 8601.
SELECT run_id, benchmark, model, method, base_run_id, final_step, weight_change, base_step,
    never_knew, never_run_id, measurement, data_hash, started_at
FROM affected
