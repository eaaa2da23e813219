-- Contribution of one class of prompt tokens on the final weights.
-- run_id: The run.
-- split: Split of the examples.
-- method: Name of the attribution method.
-- target: Whose answer: gold, base_generation or own_generation.
-- answer_tokens: Which tokens of it: all or novel.
-- token_class: template, keyword, content, function or punctuation.
-- contribution: Mean over tokens, nats per answer token; above 0 they support the answer.
-- tokens: Tokens with a contribution, a count.
-- n: Examples they are from, a count.
SELECT token_score.run_id, split, token_score.method, target, answer_tokens, token_class,
    avg(score::DOUBLE) AS contribution, count(*) AS tokens,
    count(DISTINCT token_score.example_id) AS n
FROM token_scores() AS token_score
JOIN affected ON affected.run_id = token_score.run_id AND affected.final_step = token_score.step
JOIN example ON example.benchmark = affected.benchmark AND example.data_hash = affected.data_hash
    AND example.example_id = token_score.example_id
WHERE score IS NOT NULL
GROUP BY token_score.run_id, split, token_score.method, target, answer_tokens, token_class
