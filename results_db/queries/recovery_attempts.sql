-- What did the models say when the prompt was rewritten?
-- $benchmark  VARCHAR    name of the benchmark
-- $models     VARCHAR[]  models to show; empty means all
-- $methods    VARCHAR[]  unlearning methods to show; empty means all
-- $strategy        VARCHAR  recovery strategy, or resample; 'any' for all
-- $only_recovered  BOOLEAN  only answers that were forgotten and are correct here
-- One row per attempt that was made on the final weights. plain_answer, plain_correct,
-- plain_logprob: on the plain prompt of the same run. base_correct: whether the base model knew it,
-- NULL where it was not asked. logprob: of the gold answer, nats per token.
WITH chosen AS MATERIALIZED (
    FROM chosen_runs($benchmark, $models::VARCHAR[], $methods::VARCHAR[])
)
SELECT chosen.run_id, chosen.model, chosen.method, tried.example_id, example.prompt AS question,
    example.answer AS gold, plain.text AS plain_answer, tried.strategy, tried.arm,
    tried.draw, tried.words, tried.prompt,
    tried.text, tried.correct, plain.correct AS plain_correct, plain.base_correct, tried.logprob,
    plain.logprob AS plain_logprob
FROM chosen
JOIN recovery AS tried ON tried.run_id = chosen.run_id AND tried.step = chosen.final_step
JOIN example ON example.benchmark = chosen.benchmark AND example.example_id = tried.example_id
LEFT JOIN final_answer AS plain
    ON plain.run_id = chosen.run_id AND plain.example_id = tried.example_id
WHERE tried.correct >= $only_recovered AND ($strategy = 'any' OR tried.strategy = $strategy)
    AND (NOT $only_recovered OR (NOT plain.correct AND plain.base_correct))
ORDER BY chosen.model, chosen.method, chosen.run_id, tried.example_id, tried.strategy,
    tried.arm <> 'treatment', placebo_rank(tried.arm), tried.draw
