-- What did the models say when the prompt was rewritten?
-- $benchmark  VARCHAR    name of the benchmark
-- $models     VARCHAR[]  models to show; empty means all
-- $methods    VARCHAR[]  unlearning methods to show; empty means all
-- $only_run        VARCHAR  id of the run to show; NULL for all of these
-- $strategy        VARCHAR  recovery strategy, or resample; 'any' for all
-- $only_recovered  BOOLEAN  only answers that were forgotten and are correct here
-- $limit           INTEGER  at most so many lines; NULL for all
-- $offset          INTEGER  lines to leave out before them, 0 for none
-- One row per attempt that was made on the final weights; unlearned runs come before those of
-- none, retrain and sham. total: how many there are without limit and offset, the same in each row.
-- plain_answer, plain_correct, plain_logprob: on the plain prompt of the same run. base_correct:
-- whether the base model knew it, NULL where it was not asked. logprob: of the gold answer, nats
-- per token.
WITH chosen AS MATERIALIZED (
    SELECT *, row_number() OVER (ORDER BY is_reference(method), model, method, run_id) AS place
    FROM chosen_runs($benchmark, $models::VARCHAR[], $methods::VARCHAR[])
    WHERE coalesce(run_id = $only_run::VARCHAR, true)
), found AS MATERIALIZED (
    SELECT chosen.run_id, chosen.model, chosen.method, chosen.place, tried.rowid AS row,
        plain.rowid AS plain_row, tried.example_id, tried.strategy, tried.arm, tried.draw
    FROM chosen
    JOIN recovery AS tried ON tried.run_id = chosen.run_id AND tried.step = chosen.final_step
    LEFT JOIN final_answer AS plain
        ON plain.run_id = chosen.run_id AND plain.example_id = tried.example_id
    WHERE tried.correct >= $only_recovered AND ($strategy = 'any' OR tried.strategy = $strategy)
        AND (NOT $only_recovered OR (NOT plain.correct AND plain.base_correct))
), page AS MATERIALIZED (
    SELECT *, arm <> 'treatment' AS is_control, placebo_rank(arm) AS rank FROM found
    ORDER BY place, example_id, strategy, is_control, rank, draw LIMIT $limit OFFSET $offset
)
SELECT page.run_id, page.model, page.method, page.example_id, example.prompt AS question,
    example.answer AS gold, plain.text AS plain_answer, page.strategy, page.arm, page.draw,
    tried.words, tried.prompt, tried.text, tried.correct, plain.correct AS plain_correct,
    plain.base_correct, tried.logprob, plain.logprob AS plain_logprob,
    (SELECT count(*) FROM found) AS total
FROM page
JOIN recovery AS tried ON tried.rowid = page.row
JOIN example ON example.benchmark = $benchmark AND example.data_hash = shown_data($benchmark)
    AND example.example_id = page.example_id
LEFT JOIN final_answer AS plain ON plain.rowid = page.plain_row
ORDER BY place, page.example_id, page.strategy, is_control, rank, page.draw
