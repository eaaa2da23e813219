-- Which checks were made of the models of a benchmark's runs, and which failed and were allowed?
-- $benchmark  VARCHAR    name of the benchmark
-- $models     VARCHAR[]  models to show; empty means all
-- $methods    VARCHAR[]  unlearning methods to show; empty means all
-- One row per complete run, model that its numbers depend on (subject: measured, or base: the model
-- before unlearning, examined by its own run) and check. passed: whether the model passed. allowed:
-- it did not, and the user went on; such a run's numbers may be wrong. figure: in the unit that note
-- says; NULL for a check without one. No rows for runs that were measured before checks were made.
SELECT chosen.run_id, chosen.model, chosen.method,
    if(model_check.run_id = chosen.run_id, model_check.model, 'base') AS subject,
    "check", passed, allowed, figure, note
FROM chosen_runs($benchmark, $models::VARCHAR[], $methods::VARCHAR[]) AS chosen
JOIN model_check ON model_check.run_id IN (chosen.run_id, chosen.base_run_id)
ORDER BY chosen.model, chosen.method, chosen.run_id, subject DESC, "check"
