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
WITH final AS MATERIALIZED (  -- of the affected runs and of their base models, each once
    SELECT near.run_id, checkpoint.step,
        coalesce(affected.base_run_id, near.run_id) AS rule_run_id
    FROM (SELECT DISTINCT unnest([run_id, base_run_id]) AS run_id FROM affected) AS near
    JOIN checkpoint ON checkpoint.run_id = near.run_id AND is_final
    LEFT JOIN affected ON affected.run_id = near.run_id
), prompt AS MATERIALIZED (
    SELECT attribution.rowid AS row, attribution.run_id, example_id, method, target, answer_tokens,
        alpha, beta, normalisation
    FROM attribution
    JOIN final ON final.run_id = attribution.run_id AND final.step = attribution.step
    LEFT JOIN key_token_rules('affected') AS rule ON rule.run_id = final.rule_run_id
    WHERE attribution.reason IS NULL
), token AS (
    SELECT rowid AS row, unnest(token_classes) AS token_class, unnest(scores)::DOUBLE AS score,
        unnest(is_key) AS is_key, greatest(coalesce(score, 0), 0) AS gain
    FROM attribution WHERE rowid IN (SELECT row FROM prompt)
), counted AS (
    SELECT *, count(*) FILTER (score > 0) OVER of_prompt AS supporting,
        max(gain) OVER of_prompt AS largest, sum(gain) OVER of_prompt AS total
    FROM token WHERE is_key IS NOT NULL AND token_class <> 'template'
    WINDOW of_prompt AS (PARTITION BY row)
), flagged AS (
    SELECT counted.*, alpha,
        is_key_token(gain, supporting, largest, total, alpha, beta, normalisation) AS is_own
    FROM counted JOIN prompt ON prompt.row = counted.row
), summed AS (
    SELECT row, sum(gain) FILTER (is_key) AS on_keys, sum(gain) AS on_question,
        sum(score) FILTER (is_key) AS key_contribution,
        count(*) FILTER (is_key) AS base_keys, count(*) AS question_tokens,
        if(any_value(alpha) IS NULL, NULL, count(*) FILTER (is_own)) AS own_keys,
        if(any_value(alpha) IS NULL, NULL, count(*) FILTER (is_key AND is_own)) AS kept_keys
    FROM flagged GROUP BY row
), own AS MATERIALIZED (
    SELECT prompt.*, summed.* EXCLUDE (row) FROM prompt JOIN summed ON summed.row = prompt.row
)
SELECT own.run_id, own.example_id, own.method, own.target, own.answer_tokens, example.split,
    example."group", own.on_keys, own.on_question, own.key_contribution,
    base.on_keys AS base_on_keys, base.on_question AS base_on_question,
    base.key_contribution AS base_key_contribution, own.base_keys, own.own_keys, own.kept_keys,
    own.question_tokens, answer.correct AS plain_correct
FROM own
JOIN affected ON affected.run_id = own.run_id
JOIN own AS base ON base.run_id = affected.base_run_id AND base.example_id = own.example_id
    AND base.method = own.method AND base.target = own.target
    AND base.answer_tokens = own.answer_tokens
JOIN example ON example.benchmark = affected.benchmark AND example.data_hash = affected.data_hash
    AND example.example_id = own.example_id
LEFT JOIN answer ON answer.run_id = own.run_id AND answer.step = affected.final_step
    AND answer.example_id = own.example_id
ORDER BY own.method, own.target, own.answer_tokens, own.example_id
