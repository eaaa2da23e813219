-- Which prompt tokens carried the gold answer in the base model, and which of them are KeyTokens?
-- $run_id  VARCHAR  a complete run whose method is none
-- One row per attribution method, answer tokens and example. scores: list by prompt position, nats
-- per answer token, NaN where the token was not deleted; is_key: list by prompt position, all false
-- where has_keys is false: KeyTokens are undefined there.
SELECT
    t.method,
    t.answer_tokens,
    t.example_id,
    list_transform(t.scores, lambda score: coalesce(score, 'nan'::FLOAT)) AS scores,
    list_transform(t.is_key, lambda mark: coalesce(mark, false)) AS is_key,
    list_count(t.is_key) > 0 AS has_keys
FROM attribution AS t
JOIN checkpoint AS c ON c.run_id = t.run_id AND c.step = t.step AND c.is_final
WHERE t.run_id = $run_id AND t.target = 'gold'
