-- Contributions on the final weights of a run and of its base model, summed over the tokens of one prompt, where KeyTokens are defined on both.
-- run_id: The run.
-- example_id: The example, of the benchmark of the run.
-- method: Name of the attribution method.
-- target: Whose answer: gold, base_generation or own_generation.
-- answer_tokens: Which tokens of it: all or novel.
-- split: Split of the example.
-- group: Group of the example.
-- on_keys: Sum of the positive contributions of KeyTokens, nats per answer token, 0 or more; NULL without any.
-- on_question: The same over all question tokens: all but the template.
-- key_contribution: Sum of the contributions of KeyTokens, nats per answer token; may be negative.
-- base_on_keys: on_keys on the base model.
-- base_on_question: on_question on the base model.
-- base_key_contribution: key_contribution on the base model.
-- base_keys: KeyTokens of the base model, a count.
-- own_keys: Question tokens that the same rule calls KeyTokens by the contributions on the run, a count; NULL where the base model states no rule.
-- kept_keys: Tokens that are both, a count; NULL likewise.
-- question_tokens: Question tokens, a count.
-- plain_correct: Whether the plain answer of the run is correct; NULL where it was not asked.
WITH own AS MATERIALIZED (
    FROM focus_sums('affected')
), rule AS MATERIALIZED (
    FROM key_token_rules('affected')
), gain AS (
    SELECT token_score.run_id, example_id, token_score.method, target, answer_tokens, is_key,
        alpha, beta, normalisation, greatest(coalesce(score, 0), 0)::DOUBLE AS gain,
        count(*) FILTER (score > 0) OVER prompt AS supporting, max(gain) OVER prompt AS largest,
        sum(gain) OVER prompt AS total
    FROM token_scores() AS token_score
    JOIN affected
        ON affected.run_id = token_score.run_id AND affected.final_step = token_score.step
    LEFT JOIN rule ON rule.run_id = affected.base_run_id
    WHERE is_key IS NOT NULL AND token_class <> 'template'
    WINDOW prompt AS (
        PARTITION BY token_score.run_id, example_id, token_score.method, target, answer_tokens)
), counted AS MATERIALIZED (
    SELECT run_id, example_id, method, target, answer_tokens,
        count(*) FILTER (is_key) AS base_keys, count(*) AS question_tokens,
        sum(is_key_token(gain, supporting, largest, total, alpha, beta, normalisation)::INTEGER)
            ::BIGINT AS own_keys,
        sum((is_key AND is_key_token(gain, supporting, largest, total, alpha, beta, normalisation))
            ::INTEGER)::BIGINT AS kept_keys
    FROM gain GROUP BY run_id, example_id, method, target, answer_tokens
)
SELECT own.run_id, own.example_id, own.method, own.target, own.answer_tokens, example.split,
    example."group", own.on_keys, own.on_question, own.key_contribution,
    base.on_keys AS base_on_keys, base.on_question AS base_on_question,
    base.key_contribution AS base_key_contribution, counted.base_keys, counted.own_keys,
    counted.kept_keys, counted.question_tokens, answer.correct AS plain_correct
FROM own
JOIN affected ON affected.run_id = own.run_id
JOIN own AS base ON base.run_id = affected.base_run_id AND base.example_id = own.example_id
    AND base.method = own.method AND base.target = own.target
    AND base.answer_tokens = own.answer_tokens
JOIN counted ON counted.run_id = own.run_id AND counted.example_id = own.example_id
    AND counted.method = own.method AND counted.target = own.target
    AND counted.answer_tokens = own.answer_tokens
JOIN example ON example.benchmark = affected.benchmark AND example.example_id = own.example_id
LEFT JOIN answer ON answer.run_id = own.run_id AND answer.step = affected.final_step
    AND answer.example_id = own.example_id
ORDER BY own.method, own.target, own.answer_tokens, own.example_id
