-- How far a run's plain answers on its final weights are those of its base model, or one piece said again and again.
-- run_id: The run.
-- same_answers: Fraction of the answers that are the base model's, word for word, in [0, 1]; NULL where that was not asked.
-- one_token: Fraction of the answers that are empty, or one piece of at most 16 characters three times or more, in [0, 1].
-- n: Answers, a count.
WITH said AS (
    SELECT affected.run_id, answer.text = base_answer.text AS is_same, trim(answer.text) AS piece,
        piece || ' ' AS words
    FROM affected
    JOIN answer ON answer.run_id = affected.run_id AND answer.step = affected.final_step
    LEFT JOIN answer AS base_answer ON base_answer.run_id = affected.base_run_id
        AND base_answer.step = affected.base_step AND base_answer.example_id = answer.example_id
)
SELECT run_id, avg(is_same::INTEGER) AS same_answers,
    avg((piece = '' OR len(list_filter(range(1, 17), lambda size:
        (length(piece) >= 3 * size
            AND starts_with(repeat(left(piece, size), length(piece) // size + 1), piece))
        OR (length(words) >= 3 * size
            AND starts_with(repeat(left(words, size), length(words) // size + 1), words))
    )) > 0)::INTEGER) AS one_token,
    count(*) AS n
FROM said GROUP BY run_id
