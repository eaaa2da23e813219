-- Which classes of prompt tokens carry the answer?
-- $benchmark  VARCHAR    name of the benchmark
-- $models     VARCHAR[]  models to show; empty means all
-- $methods    VARCHAR[]  unlearning methods to show; empty means all
-- $attribution_method  VARCHAR  e.g. 'leave_one_out'
-- $target              VARCHAR  whose answer: 'gold', 'base_generation' or 'own_generation'
-- $answer_tokens       VARCHAR  which tokens of it: 'all' or 'novel'
-- One row per complete run, split and token class (template, keyword, content, function,
-- punctuation). contribution: mean over tokens, nats per answer token; above 0 they support the
-- answer. tokens: tokens with a contribution; n: examples they are from.
WITH chosen AS MATERIALIZED (
    FROM chosen_runs($benchmark, $models::VARCHAR[], $methods::VARCHAR[])
)
SELECT chosen.run_id, chosen.model, chosen.method, split, token_class, contribution, tokens, n
FROM chosen JOIN class_score ON class_score.run_id = chosen.run_id
WHERE class_score.method = $attribution_method AND target = $target
    AND answer_tokens = $answer_tokens
ORDER BY chosen.model, chosen.method, chosen.run_id, split, list_position(
    ['template', 'keyword', 'content', 'function', 'punctuation'], token_class)
