-- Which runs changed nothing, say one thing whatever they are asked, or lost their effect in storing?
-- $benchmark  VARCHAR    name of the benchmark
-- $models     VARCHAR[]  models to show; empty means all
-- $methods    VARCHAR[]  unlearning methods to show; empty means all
-- One row per complete run. weight_change: L2 norm of the difference to the base weights over the
-- norm of those. same_answers: fraction of the greedy answers on the final weights that are the base
-- model's, word for word, in [0, 1]. one_token: fraction of the answers that are empty, or one piece
-- of at most 16 characters three times or more, in [0, 1]. n: answers. stopped: the rule that ended
-- the run before its last step, and where; NULL where none did. effect_left: share of the drop of the
-- forget set's mean log-probability that the stored weights have of the trained ones' (statistic
-- effect_left_stored); NULL where it was not measured. over_half_step: RMS change of a weight over
-- the median half step of the number type that it is stored in; NULL where it was not measured.
-- flag: 'base run on other data' (nothing compares with it), 'weights unchanged', 'storing undid the unlearning' (less than half of the effect is left),
-- 'stored and trained differ' (less than 0.9 or more than 1.1 of it), 'forget answers unmoved' (as
-- stored their mean log-probability fell or rose by less than 0.05 nats), 'answers unchanged' (all
-- of them) or 'one token, repeated' (half of the answers or more); NULL for reference runs and where
-- nothing is odd.
WITH chosen AS MATERIALIZED (
    FROM chosen_runs($benchmark, $models::VARCHAR[], $methods::VARCHAR[])
), storing AS (
    SELECT run_id,
        max(estimate) FILTER (name = 'effect_left_stored') AS effect_left,
        max(estimate) FILTER (name = 'effect_stored') AS effect_stored,
        max(estimate) FILTER (name = 'weight_change_over_half_step') AS over_half_step,
        max(estimate) FILTER (name = 'weights_changed_stored') AS changed_stored
    FROM statistic
    WHERE name IN ('effect_left_stored', 'effect_stored', 'weight_change_over_half_step',
        'weights_changed_stored')
    GROUP BY run_id
)
SELECT chosen.run_id, chosen.model, chosen.method, chosen.weight_change, same_answers, one_token,
    counted.n,
    'step ' || stop.estimate::INTEGER || ': ' || stop.scope AS stopped,
    effect_left, over_half_step,
    CASE
        WHEN base.data_hash <> chosen.data_hash THEN 'base run on other data'
        WHEN is_reference(chosen.method) THEN NULL
        WHEN chosen.weight_change = 0 OR changed_stored = 0 THEN 'weights unchanged'
        WHEN effect_left < 0.5 THEN 'storing undid the unlearning'
        WHEN effect_left NOT BETWEEN 0.9 AND 1.1 THEN 'stored and trained differ'
        WHEN same_answers = 1 THEN 'answers unchanged'
        WHEN abs(effect_stored) < 0.05 THEN 'forget answers unmoved'
        WHEN one_token >= 0.5 THEN 'one token, repeated'
    END AS flag
FROM chosen
JOIN answer_sameness AS counted ON counted.run_id = chosen.run_id
LEFT JOIN statistic AS stop ON stop.run_id = chosen.run_id AND stop.name = 'early_stop'
    AND stop.estimate IS NOT NULL
LEFT JOIN storing ON storing.run_id = chosen.run_id
LEFT JOIN run AS base ON base.run_id = chosen.base_run_id
ORDER BY chosen.model, chosen.method, chosen.run_id
