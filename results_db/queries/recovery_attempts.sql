-- What did the models say when the prompt was rewritten?
-- $benchmark  VARCHAR    name of the benchmark
-- $models     VARCHAR[]  models to show; empty means all
-- $methods    VARCHAR[]  unlearning methods to show; empty means all
-- $strategy        VARCHAR  recovery strategy; 'any' for all
-- $only_recovered  BOOLEAN  only answers that were forgotten and are correct here
-- One row per attempt that was made on the final weights. plain_answer, plain_correct,
-- plain_logprob: on the plain prompt of the same run. base_correct: whether the base model knew it,
-- NULL where it was not asked. logprob: of the gold answer, nats per token.
WITH chosen AS MATERIALIZED (
    FROM chosen_runs($benchmark, $models::VARCHAR[], $methods::VARCHAR[])
)
SELECT chosen.run_id, chosen.model, chosen.method, tried.example_id, example.prompt AS question,
    example.answer AS gold, plain.text AS plain_answer, tried.strategy, tried.arm, tried.prompt,
    tried.text, tried.correct, plain.correct AS plain_correct, base_plain.correct AS base_correct,
    tried.logprob, plain.logprob AS plain_logprob
FROM chosen
JOIN recovery AS tried ON tried.run_id = chosen.run_id AND tried.step = chosen.final_step
JOIN example ON example.benchmark = chosen.benchmark AND example.example_id = tried.example_id
LEFT JOIN answer AS plain ON plain.run_id = chosen.run_id AND plain.step = chosen.final_step
    AND plain.example_id = tried.example_id
LEFT JOIN answer AS base_plain ON base_plain.run_id = chosen.base_run_id
    AND base_plain.step = chosen.base_step AND base_plain.example_id = tried.example_id
WHERE tried.correct IS NOT NULL AND ($strategy = 'any' OR tried.strategy = $strategy)
    AND (NOT $only_recovered
        OR coalesce(tried.correct AND NOT plain.correct AND base_plain.correct, false))
ORDER BY chosen.model, chosen.method, chosen.run_id, tried.example_id, tried.strategy,
    tried.arm <> 'treatment', placebo_rank(tried.arm), tried.draw
