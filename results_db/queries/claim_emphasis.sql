-- Claim 2: does emphasis bring answers back, beyond a placebo and beyond what never knew?
-- $benchmark  VARCHAR    name of the benchmark
-- $models     VARCHAR[]  models to show; empty means all
-- $methods    VARCHAR[]  unlearning methods to show; empty means all
-- Rules: docs/claims.md.
-- One row per complete run of an unlearning method. estimate: the effect of any emphasis, see query
-- effects, with its 95 % interval; threshold: claimed is an effect above it.
-- p: one-sided; p_holm: adjusted over the m runs of the model, those too that $methods leaves out.
-- word: shown, not shown or not enough evidence, not shown only where half the interval is at most
-- 0.10; reason: what excludes the run, NULL for nothing. never_knew, stand_ins, without_stand_in:
-- see effects. tried: known prompts with an attempt; not_built: of these, without an effect, since a
-- treatment or placebo could not be built. judged_step, forget, retain, marks: see claim_focus.
WITH chosen AS MATERIALIZED (
    SELECT shown.*, run.seed
    FROM chosen_runs($benchmark, $models::VARCHAR[], NULL::VARCHAR[]) AS shown
    JOIN run ON run.run_id = shown.run_id
    WHERE NOT is_reference(shown.method)
), judged AS MATERIALIZED (
    FROM judged_steps('chosen')
), known AS MATERIALIZED (
    FROM known_facts('chosen')
), attempted AS (
    SELECT run_id, count(*) AS tried FROM known
    SEMI JOIN final_attempts('chosen') AS made
        ON made.run_id = known.run_id AND made.example_id = known.example_id AND is_emphasis
    GROUP BY run_id
), estimated AS (
    SELECT chosen.run_id, chosen.model, chosen.method, chosen.seed, effect AS estimate,
        effect_low AS low, effect_high AS high, n, groups, 0.10 AS threshold,
        if(stand_ins > 0, 'stand-in', chosen.never_knew) AS never_knew, stand_ins,
        without_stand_in, coalesce(tried, 0) AS tried,
        coalesce(tried, 0) - n - without_stand_in AS not_built, judged_step, judged.forget,
        judged.retain,
        CASE
            WHEN judged.reason IS NOT NULL THEN judged.reason
            WHEN effect IS NULL THEN 'no effect was measured'
            WHEN chosen.never_knew = 'absent' AND stand_ins = 0 THEN 'nothing that never knew'
            WHEN 10 * not_built > tried
                THEN format('no placebo on {} of {} known prompts', not_built, tried)
            WHEN groups < 8 THEN format('{} groups, 8 needed', groups)
        END AS reason
    FROM chosen
    JOIN judged ON judged.run_id = chosen.run_id
    JOIN run_effect ON run_effect.run_id = chosen.run_id AND strategy = 'any'
    LEFT JOIN attempted ON attempted.run_id = chosen.run_id
), tested AS MATERIALIZED (
    SELECT *, model AS family, run_id AS item,
        if(reason IS NULL, claim_p(estimate, (high - low) / 2, threshold, groups - 1, false), NULL)
            AS p
    FROM estimated
)
SELECT run_id, model, method, seed, estimate, low, high, n, groups, threshold, p, p_holm, m,
    claim_word(low > threshold, high <= threshold AND (high - low) / 2 <= 0.10, p_holm, reason)
        AS word,
    reason, never_knew, stand_ins, without_stand_in, tried, not_built, judged_step, forget, retain,
    claim_marks(forget, retain) AS marks
FROM tested JOIN holm('tested') AS adjusted
    ON adjusted.family = tested.family AND adjusted.item = tested.item
WHERE coalesce(len($methods::VARCHAR[]), 0) = 0 OR list_contains($methods::VARCHAR[], method)
ORDER BY model, method, run_id
