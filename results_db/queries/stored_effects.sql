-- What is left of a run's effect in the weights as they are stored?
-- $benchmark  VARCHAR    name of the benchmark
-- $models     VARCHAR[]  models to show; empty means all
-- $methods    VARCHAR[]  unlearning methods to show; empty means all
-- One row per complete run that has one of these statistics, whose definition column says more.
-- weights_changed, weights_changed_stored: share of the weights that training changed, as trained
-- and as stored, in [0, 1]. weight_change_over_half_step: root mean square change of a weight over
-- half a step of the stored number type, 0 or more; below 1, rounding undoes most of it.
-- effect_left_stored: effect on the forget answers as stored over that as trained; 1: nothing is
-- lost. Each NULL where it was not measured. way: from trained to stored, in words.
SELECT chosen.run_id, chosen.model, chosen.method,
    max(estimate) FILTER (name = 'weights_changed') AS weights_changed,
    max(estimate) FILTER (name = 'weights_changed_stored') AS weights_changed_stored,
    max(estimate) FILTER (name = 'weight_change_over_half_step') AS weight_change_over_half_step,
    max(estimate) FILTER (name = 'effect_left_stored') AS effect_left_stored,
    max(scope) AS way
FROM chosen_runs($benchmark, $models::VARCHAR[], $methods::VARCHAR[]) AS chosen
JOIN statistic ON statistic.run_id = chosen.run_id
WHERE name IN ('weights_changed', 'weights_changed_stored', 'weight_change_over_half_step',
    'effect_left_stored')
GROUP BY chosen.run_id, chosen.model, chosen.method
ORDER BY chosen.model, chosen.method, chosen.run_id
