---------- Focus ----------

-- A share of positive contribution, in [0, 1]; NULL where there is less of it than minimum_nats.
CREATE OR REPLACE MACRO focus_share(on_keys, on_question, minimum_nats) AS
    if(on_question >= minimum_nats, on_keys / nullif(on_question, 0), NULL);

-- The rule of KeyTokens (engine/attribution/key_tokens.py, key_tokens) for one question token. gain: its positive
-- contribution, else 0; supporting, largest, total: count, maximum and sum of those of its prompt.
CREATE OR REPLACE MACRO is_key_token(
    gain, supporting, largest, total, alpha, beta, normalisation
) AS
    gain > 0 AND (supporting < beta OR gain / if(normalisation = 'max', largest, total) > alpha);

-- The rule with which the base models of some runs settled KeyTokens, one row per base model.
CREATE OR REPLACE MACRO key_token_rules(of_runs) AS TABLE
    SELECT run_id, (rule->>'$.alpha')::DOUBLE AS alpha, (rule->>'$.beta')::INTEGER AS beta,
        rule->>'$.normalisation' AS normalisation
    FROM (SELECT run_id, spec::JSON->'$.probe.key_tokens' AS rule FROM run
        WHERE run_id IN (SELECT base_run_id FROM query_table(of_runs)));

-- The view token_score as a macro: it reads the attributions that the caller sees.
CREATE OR REPLACE MACRO token_scores() AS TABLE
    SELECT run_id, step, example_id, method, target, answer_tokens,
        unnest(range(len(scores)))::INTEGER AS position, unnest(tokens) AS token,
        unnest(token_classes) AS token_class, unnest(scores) AS score, unnest(is_key) AS is_key
    FROM attribution;

-- Focus before and after over the examples of each cell of a relation of focus pairs: cell
-- (struct), "group", focus_before, focus_after, key_before, key_after; see query focus.
CREATE OR REPLACE MACRO focus_summary(of_pairs) AS TABLE
    WITH shift AS (
        SELECT cell, 'measure' AS kind, "group", focus_after - focus_before AS value, 1 AS weight
        FROM query_table(of_pairs)
    ), summary AS (
        SELECT cell, focus_before, focus_after, key_before, key_after,
            focus_before IS NOT NULL AND focus_after IS NOT NULL AS defined
        FROM query_table(of_pairs)
    )
    SELECT summary.cell, count(*) FILTER (defined) AS n,
        coalesce(any_value(found.groups), 0) AS groups,
        avg(focus_before) FILTER (defined) AS focus_before,
        avg(focus_after) FILTER (defined) AS focus_after,
        any_value(found.estimate) AS shift, any_value(found.low) AS shift_low,
        any_value(found.high) AS shift_high,
        avg(key_before) AS key_contribution_before, avg(key_after) AS key_contribution_after,
        count(*) FILTER (NOT defined) AS undefined
    FROM summary LEFT JOIN estimates('shift') AS found ON found.cell = summary.cell
    GROUP BY summary.cell;
