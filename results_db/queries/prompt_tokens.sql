-- Which tokens of one prompt carry the answer, in each run of a model?
-- $benchmark           VARCHAR  name of the benchmark
-- $model               VARCHAR  name of the model
-- $example_id          VARCHAR  the example
-- $attribution_method  VARCHAR  e.g. 'leave_one_out'
-- $target              VARCHAR  whose answer: 'gold', 'base_generation' or 'own_generation'
-- $answer_tokens       VARCHAR  which tokens of it: 'all' or 'novel'
-- One row per complete run and token, in the order of the prompt. score: contribution, nats per
-- answer token, above 0 supports the answer, NULL when the token was not deleted. is_key: KeyToken,
-- NULL where KeyTokens are undefined. answer: the attributed answer; logprob: of its tokens, nats
-- per token. grade: how far the attribution can be trusted, A to C (see graded_attribution); NULL
-- where it was not graded.
SELECT chosen.run_id, chosen.method, position, token, token_class, score::DOUBLE AS score, is_key,
    attribution.answer, attribution.logprob, graded.grade
FROM chosen_runs($benchmark, [$model], NULL::VARCHAR[]) AS chosen
JOIN attribution ON attribution.run_id = chosen.run_id AND attribution.step = chosen.final_step
JOIN token_score ON token_score.run_id = attribution.run_id AND token_score.step = attribution.step
    AND token_score.example_id = attribution.example_id AND token_score.method = attribution.method
    AND token_score.target = attribution.target
    AND token_score.answer_tokens = attribution.answer_tokens
LEFT JOIN graded_attribution AS graded ON graded.run_id = attribution.run_id
    AND graded.step = attribution.step AND graded.example_id = attribution.example_id
    AND graded.method = attribution.method AND graded.target = attribution.target
    AND graded.answer_tokens = attribution.answer_tokens
WHERE token_score.example_id = $example_id AND attribution.example_id = $example_id
    AND token_score.method = $attribution_method AND attribution.method = $attribution_method
    AND attribution.target = $target AND attribution.answer_tokens = $answer_tokens
ORDER BY chosen.method, chosen.run_id, position
