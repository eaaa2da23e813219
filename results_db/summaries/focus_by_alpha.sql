-- Focus on KeyTokens before and after at several thresholds alpha of the KeyToken rule, with the run's own beta and normalisation; no focus below 0.05 nats.
-- run_id: The run, at its final step.
-- split: forget or retain.
-- method: Name of the attribution method.
-- target: Whose answer: gold, base_generation or own_generation.
-- answer_tokens: Which tokens of it: all or novel.
-- alpha: Threshold of the KeyToken rule, a fraction: 0 to 0.5 in steps of 0.05, and that of the run.
-- is_recorded: Whether KeyTokens are stored at this alpha; such a row rests on the stored ones.
-- n: Examples whose focus is defined before and after, a count.
-- groups: Groups of these examples, a count.
-- focus_before: Share of positive contribution on KeyTokens, base model, mean over the n examples, in [0, 1]; NULL where there is none.
-- focus_after: The same on the run.
-- shift: After minus before, mean over the n examples, in [-1, 1]; NULL where there is none.
-- shift_low: Lower end of its 95 % interval, robust to groups; NULL below two groups.
-- shift_high: Upper end of that interval.
-- key_contribution_before: Sum of the contributions of KeyTokens, base model, mean over examples that have any, nats per answer token; may be negative.
-- key_contribution_after: The same on the run.
-- undefined: Examples whose focus is not defined on both, a count.
WITH rule AS MATERIALIZED (
    SELECT run_id, (key_tokens->>'$.alpha')::DOUBLE AS recorded,
        (key_tokens->>'$.beta')::INTEGER AS beta, key_tokens->>'$.normalisation' AS normalisation,
        unnest(list_distinct([i / 20 FOR i IN range(11)] || [recorded])) AS alpha
    FROM (SELECT run_id, spec::JSON->'$.probe.key_tokens' AS key_tokens FROM run
        WHERE run_id IN (SELECT base_run_id FROM affected))
), token AS MATERIALIZED (
    SELECT token_score.run_id, run.base_run_id, token_score.example_id, token_score.method, target,
        answer_tokens, position, token_class, score, is_key AS stored
    FROM token_scores() AS token_score
    JOIN run ON run.run_id = token_score.run_id AND run.status = 'complete'
    JOIN checkpoint ON checkpoint.run_id = token_score.run_id
        AND checkpoint.step = token_score.step AND is_final
    WHERE token_score.run_id IN (SELECT unnest([run_id, base_run_id]) FROM affected)
        AND is_key IS NOT NULL AND token_class <> 'template'
), gain AS (
    SELECT run_id, method, answer_tokens, example_id, position, stored,
        greatest(coalesce(score, 0), 0)::DOUBLE AS gain,
        count(*) FILTER (score > 0) OVER prompt AS supporting,
        max(gain) OVER prompt AS largest, sum(gain) OVER prompt AS total
    FROM token WHERE run_id = base_run_id AND target = 'gold'
    WINDOW prompt AS (PARTITION BY run_id, method, answer_tokens, example_id)
), key AS MATERIALIZED (
    SELECT gain.run_id AS base_run_id, method, answer_tokens, example_id, position, alpha,
        alpha = recorded AS is_recorded,
        CASE
            WHEN is_recorded THEN stored
            WHEN supporting < beta THEN gain > 0
            ELSE gain > 0 AND gain / if(normalisation = 'max', largest, total) > alpha
        END AS is_key
    FROM gain JOIN rule ON rule.run_id = gain.run_id WHERE recorded IS NOT NULL
), sums AS (
    SELECT own.run_id, own.base_run_id, own.example_id, own.method, own.target, own.answer_tokens,
        alpha, is_recorded,
        sum(greatest(score, 0)::DOUBLE) FILTER (is_key) AS on_keys,
        sum(greatest(score, 0)::DOUBLE) AS on_question,
        sum(score::DOUBLE) FILTER (is_key) AS key_contribution
    FROM token AS own
    JOIN key ON key.base_run_id = own.base_run_id AND key.method = own.method
        AND key.answer_tokens = own.answer_tokens AND key.example_id = own.example_id
        AND key.position = own.position
    GROUP BY ALL
), focus AS MATERIALIZED (
    SELECT *, focus_share(on_keys, on_question, 0.05) AS focus FROM sums
), pair AS MATERIALIZED (
    SELECT {'run_id': own.run_id, 'split': example.split, 'method': own.method,
            'target': own.target, 'answer_tokens': own.answer_tokens, 'alpha': own.alpha,
            'is_recorded': own.is_recorded} AS cell,
        example."group", base.focus AS focus_before, own.focus AS focus_after,
        base.key_contribution AS key_before, own.key_contribution AS key_after
    FROM focus AS own
    JOIN affected ON affected.run_id = own.run_id
    JOIN focus AS base ON base.run_id = own.base_run_id AND base.method = own.method
        AND base.target = own.target AND base.answer_tokens = own.answer_tokens
        AND base.example_id = own.example_id AND base.alpha = own.alpha
    JOIN example
        ON example.benchmark = affected.benchmark AND example.example_id = own.example_id
    WHERE example.split IN ('forget', 'retain')
)
SELECT found.cell.run_id AS run_id, found.cell.split AS split, found.cell.method AS method,
    found.cell.target AS target, found.cell.answer_tokens AS answer_tokens,
    found.cell.alpha AS alpha, found.cell.is_recorded AS is_recorded, found.* EXCLUDE (cell)
FROM focus_summary('pair') AS found
