-- Which runs changed nothing, or say one thing whatever they are asked?
-- $benchmark  VARCHAR    name of the benchmark
-- $models     VARCHAR[]  models to show; empty means all
-- $methods    VARCHAR[]  unlearning methods to show; empty means all
-- One row per complete run. weight_change: L2 norm of the difference to the base weights over the
-- norm of those. same_answers: fraction of the greedy answers on the final weights that are the base
-- model's, word for word, in [0, 1]. one_token: fraction of the answers that are empty, or one piece
-- of at most 16 characters three times or more, in [0, 1]. n: answers. stopped: the rule that ended
-- the run before its last step, and where; NULL where none did. flag: 'weights unchanged', 'answers
-- unchanged' (all of them) or 'one token, repeated' (half of the answers or more); NULL for
-- reference runs and where nothing is odd.
WITH chosen AS MATERIALIZED (
    FROM chosen_runs($benchmark, $models::VARCHAR[], $methods::VARCHAR[])
)
SELECT chosen.run_id, chosen.model, chosen.method, chosen.weight_change, same_answers, one_token,
    counted.n,
    'step ' || stop.estimate::INTEGER || ': ' || stop.scope AS stopped,
    CASE
        WHEN is_reference(chosen.method) THEN NULL
        WHEN chosen.weight_change = 0 THEN 'weights unchanged'
        WHEN same_answers = 1 THEN 'answers unchanged'
        WHEN one_token >= 0.5 THEN 'one token, repeated'
    END AS flag
FROM chosen
JOIN answer_sameness AS counted ON counted.run_id = chosen.run_id
LEFT JOIN statistic AS stop ON stop.run_id = chosen.run_id AND stop.name = 'early_stop'
    AND stop.estimate IS NOT NULL
ORDER BY chosen.model, chosen.method, chosen.run_id
