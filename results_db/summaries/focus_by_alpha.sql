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
    SELECT run_id, alpha AS recorded, beta, normalisation,
        unnest(list_distinct([i / 20 FOR i IN range(11)] || [recorded])) AS alpha
    FROM key_token_rules('affected')
), final AS MATERIALIZED (
    SELECT attribution.rowid AS row, attribution.run_id, example_id, method, target, answer_tokens
    FROM attribution JOIN checkpoint USING (run_id, step)
    WHERE is_final AND attribution.reason IS NULL
), place AS MATERIALIZED (  -- attributions by number, since to compare their names takes long
    SELECT own.row, base.row AS base_row, key.row AS key_row, own.run_id, split, "group",
        own.method, own.target, own.answer_tokens,
        dense_rank() OVER (
            ORDER BY own.run_id, split, own.method, own.target, own.answer_tokens) AS kind
    FROM affected
    JOIN final AS own ON own.run_id = affected.run_id
    JOIN final AS base ON base.run_id = affected.base_run_id AND base.method = own.method
        AND base.target = own.target AND base.answer_tokens = own.answer_tokens
        AND base.example_id = own.example_id
    JOIN final AS key ON key.run_id = affected.base_run_id AND key.method = own.method
        AND key.target = 'gold' AND key.answer_tokens = own.answer_tokens
        AND key.example_id = own.example_id
    JOIN example ON example.benchmark = affected.benchmark
        AND example.data_hash = affected.data_hash AND example.example_id = own.example_id AND split IN ('forget', 'retain')
), token AS MATERIALIZED (
    SELECT rowid AS row, run_id, unnest(range(len(scores)))::INTEGER AS position,
        unnest(token_classes) AS token_class, unnest(scores) AS score, unnest(is_key) AS stored
    FROM attribution WHERE rowid IN (SELECT row FROM final)
), gain AS (
    SELECT row, run_id, position, stored, greatest(coalesce(score, 0), 0)::DOUBLE AS gain,
        count(*) FILTER (score > 0) OVER prompt AS supporting,
        max(gain) OVER prompt AS largest, sum(gain) OVER prompt AS total
    FROM token
    WHERE row IN (SELECT key_row FROM place) AND stored IS NOT NULL AND token_class <> 'template'
    WINDOW prompt AS (PARTITION BY row)
), key AS MATERIALIZED (
    SELECT gain.row, position, alpha, alpha = recorded AS is_recorded,
        if(alpha = recorded, stored,
            is_key_token(gain, supporting, largest, total, alpha, beta, normalisation)) AS is_key
    FROM gain JOIN rule ON rule.run_id = gain.run_id WHERE recorded IS NOT NULL
), asked AS MATERIALIZED (  -- joined first: else every token meets all of its position
    SELECT token.row, key_row, position, score
    FROM (
        SELECT row, key_row FROM place UNION SELECT base_row, key_row FROM place
    ) AS either JOIN token ON token.row = either.row
    WHERE stored IS NOT NULL AND token_class <> 'template'
), sums AS (
    SELECT asked.row, alpha, is_recorded,
        sum(greatest(score, 0)::DOUBLE) FILTER (is_key) AS on_keys,
        sum(greatest(score, 0)::DOUBLE) AS on_question,
        sum(score::DOUBLE) FILTER (is_key) AS key_contribution
    FROM asked JOIN key ON key.row = asked.key_row AND key.position = asked.position
    GROUP BY asked.row, alpha, is_recorded
), focus AS MATERIALIZED (
    SELECT *, focus_share(on_keys, on_question, 0.05) AS focus FROM sums
), after AS MATERIALIZED (  -- joined first: else every focus meets all of its alpha
    SELECT base_row, kind, "group", alpha, is_recorded, focus, key_contribution
    FROM place JOIN focus ON focus.row = place.row
), pair AS MATERIALIZED (
    SELECT {'kind': kind, 'alpha': after.alpha, 'is_recorded': after.is_recorded} AS cell, "group",
        before.focus AS focus_before, after.focus AS focus_after,
        before.key_contribution AS key_before, after.key_contribution AS key_after
    FROM after JOIN focus AS before ON before.row = base_row AND before.alpha = after.alpha
), named AS (
    SELECT DISTINCT kind, run_id, split, method, target, answer_tokens FROM place
)
SELECT run_id, split, method, target, answer_tokens, found.cell.alpha AS alpha,
    found.cell.is_recorded AS is_recorded, found.* EXCLUDE (cell)
FROM focus_summary('pair') AS found JOIN named ON named.kind = found.cell.kind
