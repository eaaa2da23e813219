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
), said AS (
    SELECT chosen.run_id, answer.text = base_answer.text AS is_same, trim(answer.text) AS piece,
        piece || ' ' AS words
    FROM chosen
    JOIN answer ON answer.run_id = chosen.run_id AND answer.step = chosen.final_step
    LEFT JOIN answer AS base_answer ON base_answer.run_id = chosen.base_run_id
        AND base_answer.step = chosen.base_step AND base_answer.example_id = answer.example_id
), counted AS (
    SELECT run_id, avg(is_same::INTEGER) AS same_answers, count(*) AS n,
        avg((piece = '' OR len(list_filter(range(1, 17), lambda size:
            (length(piece) >= 3 * size
                AND starts_with(repeat(left(piece, size), length(piece) // size + 1), piece))
            OR (length(words) >= 3 * size
                AND starts_with(repeat(left(words, size), length(words) // size + 1), words))
        )) > 0)::INTEGER) AS one_token
    FROM said GROUP BY run_id
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
JOIN counted ON counted.run_id = chosen.run_id
LEFT JOIN statistic AS stop ON stop.run_id = chosen.run_id AND stop.name = 'early_stop'
    AND stop.estimate IS NOT NULL
ORDER BY chosen.model, chosen.method, chosen.run_id
