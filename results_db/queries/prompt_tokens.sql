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
-- where it was not graded. reason: why the run has no scores here, NULL where it has. token_part: the
-- part of the template that the token was deleted with, whose score it has an equal share of; NULL
-- when it was deleted alone. Rows are found first and their lists read after: four times as quick.
WITH place AS MATERIALIZED (
    SELECT attribution.rowid AS row, chosen.run_id, chosen.method, chosen.final_step
    FROM chosen_runs($benchmark, [$model], NULL::VARCHAR[]) AS chosen
    JOIN attribution
        ON attribution.run_id = chosen.run_id AND attribution.step = chosen.final_step
    WHERE example_id = $example_id AND attribution.method = $attribution_method
        AND target = $target AND answer_tokens = $answer_tokens
), graded AS (
    SELECT run_id, step, grade FROM graded_attribution
    WHERE example_id = $example_id AND method = $attribution_method AND target = $target
        AND answer_tokens = $answer_tokens
), found AS (
    SELECT place.run_id, place.method, tokens, token_classes, scores, is_key, answer, logprob,
        grade, reason, token_parts
    FROM place JOIN attribution ON attribution.rowid = place.row
    LEFT JOIN graded ON graded.run_id = place.run_id AND graded.step = place.final_step
)
SELECT run_id, method, unnest(range(len(tokens)))::INTEGER AS position, unnest(tokens) AS token,
    unnest(token_classes) AS token_class, unnest(scores)::DOUBLE AS score,
    unnest(is_key) AS is_key, answer, logprob, grade, reason,
    unnest(token_parts) AS token_part
FROM found
ORDER BY method, run_id, position
