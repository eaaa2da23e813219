-- Claim 1: does focus move away from the keywords of what is forgotten?
-- $benchmark  VARCHAR    name of the benchmark
-- $models     VARCHAR[]  models to show; empty means all
-- $methods    VARCHAR[]  unlearning methods to show; empty means all
-- Rules: docs/claims.md.
-- One row per complete run of an unlearning method and judged_by: 'annotated keywords' (the claim)
-- or 'cross-fitted KeyTokens'. estimate: D = mean over known forget prompts of (share of positive
-- contribution on these words, run - sham), minus the same over known retain prompts; -2 to 2; low,
-- high: its 95 % interval; threshold: claimed is a D below it. n: forget prompts of it. p: one-sided;
-- p_holm: adjusted over the m runs of the model and judged_by, those too that $methods leaves out.
-- word: shown, not shown or not enough evidence; reason: what excludes the run, NULL for nothing.
-- known_forget, known_retain: prompts; null_forget, null_retain: of these, without a share; groups:
-- of the split with fewer. forgotten, still_known: D of the forget prompts that the run answers
-- wrong, or right, without a test; NULL without one. judged_step: step of the rule; forget,
-- retain: fractions of what the base model knows that are right there. marks: '' for none.
-- focus, sham_focus: mean share over the n forget prompts, of the run and of sham, in [0, 1].
WITH chosen AS MATERIALIZED (
    SELECT shown.*, run.seed, run.sham_run_id
    FROM chosen_runs($benchmark, $models::VARCHAR[], NULL::VARCHAR[]) AS shown
    JOIN run ON run.run_id = shown.run_id
    WHERE NOT is_reference(shown.method)
), judged AS MATERIALIZED (
    FROM judged_steps('chosen')
), prompt AS MATERIALIZED (
    FROM keyword_shares('chosen')
), difference AS (
    SELECT {'run_id': run_id, 'judged_by': judged_by} AS cell,
        if(split = 'forget', 'own', 'control') AS side, "group", share - sham_share AS value,
        1 AS weight
    FROM prompt
), counted AS (
    SELECT run_id, judged_by,
        count(*) FILTER (split = 'forget') AS known_forget,
        count(*) FILTER (split = 'forget' AND share IS NULL) AS null_forget,
        count(*) FILTER (split = 'retain') AS known_retain,
        count(*) FILTER (split = 'retain' AND share IS NULL) AS null_retain,
        avg(share - sham_share) FILTER (split = 'forget' AND is_forgotten)
            - avg(share - sham_share) FILTER (split = 'retain') AS forgotten,
        avg(share - sham_share) FILTER (split = 'forget' AND NOT is_forgotten)
            - avg(share - sham_share) FILTER (split = 'retain') AS still_known,
        avg(share) FILTER (split = 'forget') AS focus,
        avg(sham_share) FILTER (split = 'forget') AS sham_focus
    FROM prompt GROUP BY run_id, judged_by
), estimated AS (
    SELECT chosen.run_id, chosen.model, chosen.method, chosen.seed, sides.judged_by, estimate, low,
        high,
        coalesce(n, 0) AS n, coalesce(found.groups, 0) AS groups, -0.10 AS threshold,
        coalesce(known_forget, 0) AS known_forget, coalesce(null_forget, 0) AS null_forget,
        coalesce(known_retain, 0) AS known_retain, coalesce(null_retain, 0) AS null_retain,
        forgotten, still_known, focus, sham_focus, judged_step, judged.forget, judged.retain,
        CASE
            WHEN judged.reason IS NOT NULL THEN judged.reason
            WHEN chosen.sham_run_id IS NULL THEN 'no sham run'
            WHEN coalesce(known_forget, 0) = 0 THEN 'no contributions to known forget answers'
            WHEN coalesce(known_retain, 0) = 0 THEN 'no contributions to known retain answers'
            WHEN 2 * null_forget > known_forget
                THEN format('no share on {} of {} known forget prompts', null_forget, known_forget)
            WHEN 2 * null_retain > known_retain
                THEN format('no share on {} of {} known retain prompts', null_retain, known_retain)
            WHEN found.groups < 8 THEN format('{} groups, 8 needed', found.groups)
        END AS reason
    FROM chosen
    CROSS JOIN (VALUES ('annotated keywords'), ('cross-fitted KeyTokens')) AS sides (judged_by)
    JOIN judged ON judged.run_id = chosen.run_id
    LEFT JOIN counted ON counted.run_id = chosen.run_id AND counted.judged_by = sides.judged_by
    LEFT JOIN contrasts('difference') AS found
        ON found.cell.run_id = chosen.run_id AND found.cell.judged_by = sides.judged_by
), tested AS MATERIALIZED (
    SELECT *, {'model': model, 'judged_by': judged_by} AS family, run_id AS item,
        if(reason IS NULL, claim_p(estimate, (high - low) / 2, threshold, groups - 1, true), NULL)
            AS p
    FROM estimated
)
SELECT run_id, model, method, seed, judged_by, estimate, low, high, n, groups, threshold, p, p_holm,
    m, claim_word(high < threshold, low >= threshold, p_holm, reason) AS word, reason,
    known_forget, null_forget, known_retain, null_retain, forgotten, still_known, judged_step,
    forget, retain, claim_marks(forget, retain) AS marks, focus, sham_focus
FROM tested JOIN holm('tested') AS adjusted
    ON adjusted.family = tested.family AND adjusted.item = tested.item
WHERE coalesce(len($methods::VARCHAR[]), 0) = 0 OR list_contains($methods::VARCHAR[], method)
ORDER BY judged_by, model, method, run_id
