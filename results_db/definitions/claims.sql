---------- Claims (docs/claims.md) ----------

-- P(T <= t) of Student's t with so many whole degrees of freedom, exact: a finite sum (Abramowitz and
-- Stegun 1964, 26.7.3 and 26.7.4); error below 1e-12.
CREATE OR REPLACE MACRO t_below(t, degrees) AS 0.5 + 0.5 * CASE degrees % 2
    WHEN 0 THEN sin(atan(t / sqrt(degrees))) * list_sum([
        exp(lgamma(j + 0.5) - lgamma(0.5) - lgamma(j + 1)) * cos(atan(t / sqrt(degrees))) ** (2 * j)
        FOR j IN range(0, degrees // 2)
    ])
    ELSE 2 / pi() * (atan(t / sqrt(degrees)) + sin(atan(t / sqrt(degrees))) * coalesce(list_sum([
        exp(lgamma(j + 1) + lgamma(1.5) - lgamma(j + 1.5))
            * cos(atan(t / sqrt(degrees))) ** (2 * j + 1)
        FOR j IN range(0, (degrees - 1) // 2)
    ]), 0))
END;

-- One-sided p against 'the estimate is not beyond the threshold', of a 95 % interval estimate +-
-- half; is_below: whether beyond is below it. NULL without an interval.
CREATE OR REPLACE MACRO claim_p(estimate, half, threshold, degrees, is_below) AS
    t_below(if(is_below, estimate - threshold, threshold - estimate) * t_quantile(degrees)
        / nullif(half, 0), degrees);

-- Holm's adjustment, one row per row of a relation with family, item and p: m, the tests of the
-- family, those without p too; p_holm: max over j <= i of min(1, (m - j + 1) p_j), NULL without p.
CREATE OR REPLACE MACRO holm(of_source) AS TABLE
    WITH ranked AS (
        SELECT family, item, p, count(*) OVER (PARTITION BY family) AS m,
            row_number() OVER (PARTITION BY family ORDER BY p NULLS LAST, item) AS place
        FROM query_table(of_source)
    )
    SELECT family, item, m, if(p IS NULL, NULL, max(least(1.0, (m - place + 1) * p)) OVER (
        PARTITION BY family ORDER BY place ROWS UNBOUNDED PRECEDING)) AS p_holm
    FROM ranked;

-- What is said of one run. is_beyond: the bound is beyond the threshold; is_opposite: the other bound
-- is on the other side of it, or on it; reason: why the run proves nothing, NULL where it may.
CREATE OR REPLACE MACRO claim_word(is_beyond, is_opposite, p_holm, reason) AS CASE
    WHEN reason IS NOT NULL THEN 'not enough evidence'
    WHEN is_beyond AND p_holm < 0.05 THEN 'shown'
    WHEN is_opposite THEN 'not shown'
    ELSE 'not enough evidence'
END;

-- What is said beside a run: how far it forgets and what it keeps at the step where it is judged.
CREATE OR REPLACE MACRO claim_marks(forget, retain) AS concat_ws('; ',
    if(forget > 0.10, 'forget above 10 %', NULL), if(retain < 0.80, 'retain below 80 %', NULL));

-- Fractions of the questions that the base model knows that are still right, one row per run and
-- measured step after the start (or the only one): forget, retain; NULL where it knows none.
CREATE OR REPLACE MACRO known_kept(of_runs) AS TABLE
    SELECT chosen.run_id, own.step,
        avg(own.correct::INTEGER) FILTER (split = 'forget') AS forget,
        avg(own.correct::INTEGER) FILTER (split = 'retain') AS retain
    FROM query_table(of_runs) AS chosen
    JOIN answer AS own ON own.run_id = chosen.run_id
    JOIN answer AS base ON base.run_id = chosen.base_run_id AND base.step = chosen.base_step
        AND base.example_id = own.example_id AND base.correct
    JOIN example ON example.benchmark = chosen.benchmark
        AND example.data_hash = chosen.data_hash AND example.example_id = own.example_id
    WHERE (own.step > 0 OR own.step = chosen.final_step) AND split IN ('forget', 'retain')
    GROUP BY chosen.run_id, own.step;

-- The step at which each run is judged, by plain answers alone: of those that leave at most 10 % of
-- the known forget questions right the one that keeps most known retain answers, of equals the one
-- with fewer right forget answers, then the earlier; where none does, the one with the fewest. One
-- row per run. reason: why contributions and recovery say nothing of it, NULL where they do.
CREATE OR REPLACE MACRO judged_steps(of_runs) AS TABLE
    SELECT chosen.run_id, kept.step AS judged_step, kept.forget, kept.retain,
        CASE
            WHEN kept.step IS NULL THEN 'the base model knows no forget question'
            WHEN kept.step <> chosen.final_step THEN format('judged at step {}, contributions and'
                || ' recovery are measured at step {} alone', kept.step, chosen.final_step)
        END AS reason
    FROM query_table(of_runs) AS chosen
    LEFT JOIN (
        FROM known_kept(of_runs) WHERE forget IS NOT NULL
        QUALIFY row_number() OVER (PARTITION BY run_id ORDER BY forget > 0.10,
            if(forget > 0.10, forget, -coalesce(retain, 0)), forget, step) = 1
    ) AS kept ON kept.run_id = chosen.run_id;

-- Shares of positive contribution by leave-one-out to the gold answer's new tokens, one row per run,
-- known prompt of forget and retain whose contributions the base run has, and judged_by: 'annotated
-- keywords' or 'cross-fitted KeyTokens' (see attribution.is_cross_key). share: of the run, sham_share:
-- of its sham run, both on the final weights, in [0, 1]; NULL where there are less than 0.05 nats
-- of it on the run, on the base model or on sham, or no such token. is_forgotten: whether the run's
-- plain answer is wrong.
CREATE OR REPLACE MACRO keyword_shares(of_runs) AS TABLE
    WITH near AS (
        SELECT DISTINCT checkpoint.run_id, checkpoint.step
        FROM query_table(of_runs) AS chosen
        JOIN run ON run.run_id = chosen.run_id
        JOIN checkpoint
            ON checkpoint.run_id IN (chosen.run_id, chosen.base_run_id, run.sham_run_id)
        WHERE is_final
    ), row_of AS MATERIALIZED (
        SELECT attribution.run_id, example_id, answer_tokens, scores, token_classes, is_cross_key
        FROM attribution
        JOIN near ON near.run_id = attribution.run_id AND near.step = attribution.step
        WHERE method = 'leave_one_out' AND target = 'gold'
    ), frame AS (
        SELECT chosen.run_id, chosen.base_run_id, compared_sham, base.example_id,
            example.split, example."group", own.correct AS plain_correct,
            novel.is_cross_key AS flags
        FROM (
            SELECT given.*, sham.run_id AS compared_sham
            FROM query_table(of_runs) AS given
            JOIN run ON run.run_id = given.run_id
            LEFT JOIN run AS sham ON sham.run_id = run.sham_run_id AND sham.status = 'complete'
                AND sham.measurement = run.measurement AND sham.data_hash = run.data_hash
        ) AS chosen
        JOIN row_of AS base
            ON base.run_id = chosen.base_run_id AND base.answer_tokens = 'all'
        JOIN answer AS known ON known.run_id = chosen.base_run_id
            AND known.step = chosen.base_step AND known.example_id = base.example_id
            AND known.correct
        JOIN example ON example.benchmark = chosen.benchmark
            AND example.data_hash = chosen.data_hash AND example.example_id = base.example_id
            AND split IN ('forget', 'retain')
        LEFT JOIN row_of AS novel ON novel.run_id = base.run_id
            AND novel.example_id = base.example_id AND novel.answer_tokens = 'novel'
        LEFT JOIN answer AS own ON own.run_id = chosen.run_id
            AND own.step = chosen.final_step AND own.example_id = base.example_id
    ), gained AS MATERIALIZED (
        SELECT frame.run_id, frame.example_id, whose,
            list_sum([if(token_classes[i] = 'template', 0, greatest(coalesce(scores[i], 0), 0))
                FOR i IN range(1, len(scores) + 1)]) AS on_question,
            list_sum([if(token_classes[i] = 'keyword', greatest(coalesce(scores[i], 0), 0), 0)
                FOR i IN range(1, len(scores) + 1)]) AS on_keywords,
            list_sum([if(coalesce(flags[i], false), greatest(coalesce(scores[i], 0), 0), 0)
                FOR i IN range(1, len(scores) + 1)]) AS on_cross,
            list_contains(token_classes, 'keyword') AS has_keyword,
            coalesce(list_contains(flags, true), false) AS has_cross
        FROM frame
        CROSS JOIN (VALUES ('own'), ('base'), ('sham')) AS sides (whose)
        JOIN row_of AS found ON found.answer_tokens = 'novel'
            AND found.example_id = frame.example_id
            AND found.run_id = CASE whose WHEN 'own' THEN frame.run_id
                WHEN 'base' THEN frame.base_run_id ELSE compared_sham END
    ), side AS (
        SELECT run_id, example_id, min(on_question) AS least, count(*) AS sides,
            unnest([
                {'judged_by': 'annotated keywords', 'has': bool_and(has_keyword),
                    'own': max(on_keywords / nullif(on_question, 0)) FILTER (whose = 'own'),
                    'sham': max(on_keywords / nullif(on_question, 0)) FILTER (whose = 'sham')},
                {'judged_by': 'cross-fitted KeyTokens', 'has': bool_and(has_cross),
                    'own': max(on_cross / nullif(on_question, 0)) FILTER (whose = 'own'),
                    'sham': max(on_cross / nullif(on_question, 0)) FILTER (whose = 'sham')}
            ]) AS found
        FROM gained GROUP BY run_id, example_id
    )
    SELECT frame.run_id, frame.example_id, frame.split, frame."group",
        NOT frame.plain_correct AS is_forgotten, judged.judged_by,
        sides = 3 AND least >= 0.05 AND found.has AS is_defined,
        if(is_defined, found.own, NULL) AS share, if(is_defined, found.sham, NULL) AS sham_share
    FROM frame
    CROSS JOIN (VALUES ('annotated keywords'), ('cross-fitted KeyTokens')) AS judged (judged_by)
    LEFT JOIN side ON side.run_id = frame.run_id AND side.example_id = frame.example_id
        AND side.found.judged_by = judged.judged_by;
