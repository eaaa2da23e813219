-- Is each unlearned run insufficient, destructive, or does it hold?
-- $benchmark  VARCHAR    name of the benchmark
-- $models     VARCHAR[]  models to show; empty means all
-- $methods    VARCHAR[]  unlearning methods to show; empty means all
-- $max_effect   DOUBLE  threshold of the effect, e.g. 0.10
-- $min_utility  DOUBLE  threshold of utility, e.g. 0.90
-- One row per complete run of an unlearning method (not none, retrain, sham). effect: of 'any'
-- emphasis, see query effects; utility: least ratio to the base model; both with 95 % intervals
-- robust to groups. n, groups: examples and groups of the effect. questions: of forget in the data,
-- those too that the rule of correctness cannot judge, a count. never_knew: what was subtracted, see
-- query effects; without a retain run or a stand-in, no strategy of rung 2 supports insufficient.
-- stand_ins, without_stand_in: see there. measurement: version of the run; data_hash: of
-- its data. prompt_format: JSON, the text around a question;
-- prompt_style: JSON, the style that it was made by, NULL for a model that was trained here; asked:
-- JSON, how the model is asked and decoded, NULL where that was not noted.
-- effect_left_stored: see query stored_effect; NULL where it was not measured.
-- allowed_checks: names of the checks that the run's models did not pass and the user let go, ''
-- for none.
--   insufficient: effect_low > max_effect. destructive: utility_high < min_utility. Both may hold.
--   holds: effect_high <= max_effect and utility_low >= min_utility. Else not enough evidence.
-- A bound from fewer than 8 groups proves nothing. evidence: what is missing to decide each side,
-- with the number of groups that would do if the estimate stayed; empty when nothing is.
WITH chosen AS MATERIALIZED (
    FROM chosen_runs($benchmark, $models::VARCHAR[], $methods::VARCHAR[])
), ratio AS MATERIALIZED (
    SELECT run_id, step, measure, ratio, ratio_low AS low, ratio_high AS high,
        ratio_groups AS groups, ratio_alike AS alike
    FROM utility_measure SEMI JOIN chosen
        ON chosen.run_id = utility_measure.run_id AND chosen.final_step = utility_measure.step
), judged AS MATERIALIZED (
    SELECT effects.*, model, method, measurement, data_hash,
        if(stand_ins > 0, 'stand-in', chosen.never_knew) AS never_knew, utility, least.low AS utility_low,
        least.high AS utility_high,
        coalesce(groups >= 8 AND effect_low > $max_effect, false) AS is_insufficient,
        coalesce(groups >= 8 AND effect_high <= $max_effect, false) AS is_sufficient,
        coalesce(proven_high < $min_utility, false) AS is_destructive,
        coalesce(proven_low >= $min_utility, false) AS is_harmless
    FROM chosen
    JOIN run_effect AS effects ON effects.run_id = chosen.run_id AND effects.strategy = 'any'
    LEFT JOIN least_utility('ratio') AS least ON least.run_id = chosen.run_id
    WHERE NOT is_reference(chosen.method)
), open_question AS (
    SELECT run_id, 0 AS place, 'effect' AS name, effect AS estimate, groups, alike,
        abs(effect - $max_effect) AS distance,
        if(effect > $max_effect, effect - effect_low, effect_high - effect) AS half
    FROM judged WHERE NOT is_insufficient AND NOT is_sufficient
    UNION ALL
    SELECT judged.run_id, place, name, ratio.ratio, ratio.groups, ratio.alike,
        abs(ratio.ratio - $min_utility),
        if(ratio.ratio > $min_utility, ratio.ratio - ratio.low, ratio.high - ratio.ratio)
    FROM judged
    CROSS JOIN (VALUES (1, 'retain correct'), (2, 'general correct'), (3, 'plain-text perplexity'))
        AS measures (place, name)
    LEFT JOIN ratio ON ratio.run_id = judged.run_id AND ratio.measure = name
    WHERE NOT is_destructive AND NOT is_harmless
        AND NOT coalesce(ratio.groups >= 8 AND ratio.low >= $min_utility, false)
), evidence AS (
    SELECT run_id, string_agg(
        CASE
            WHEN estimate IS NULL THEN name || ' not measured'
            WHEN distance < 1e-9 THEN name || ' at its threshold'
            ELSE format('{}: {} groups, about {:.0f} needed', name, groups,
                coalesce(groups_needed(groups, half, distance, alike), 8))
        END, '; ' ORDER BY place) AS evidence
    FROM open_question GROUP BY run_id
), counted AS (
    SELECT count(*) AS questions FROM example
    WHERE benchmark = $benchmark AND data_hash = shown_data($benchmark) AND form = 'question'
        AND split = 'forget'
), stored AS (
    SELECT run_id, min(estimate) AS effect_left_stored
    FROM statistic WHERE name = 'effect_left_stored' GROUP BY run_id
), allowed AS (
    SELECT run_id, string_agg(DISTINCT "check", ', ' ORDER BY "check") AS checks
    FROM model_check WHERE allowed GROUP BY run_id
)
SELECT judged.run_id, judged.model, judged.method, effect, effect_low, effect_high, n, groups,
    never_knew, placebo_arm, utility, utility_low, utility_high,
    CASE
        WHEN is_insufficient AND is_destructive THEN 'insufficient and destructive'
        WHEN is_insufficient THEN 'insufficient'
        WHEN is_destructive THEN 'destructive'
        WHEN is_sufficient AND is_harmless THEN 'holds'
        ELSE 'not enough evidence'
    END AS verdict,
    coalesce(evidence, '') AS evidence, judged.measurement, judged.data_hash, run.prompt_format,
    model_source.prompt_style, model_source.asked, stored.effect_left_stored,
    coalesce(allowed.checks, '') AS allowed_checks, counted.questions, stand_ins,
    without_stand_in
FROM judged
CROSS JOIN counted
JOIN run ON run.run_id = judged.run_id
LEFT JOIN evidence ON evidence.run_id = judged.run_id
LEFT JOIN model_source ON model_source.run_id = judged.run_id
LEFT JOIN stored ON stored.run_id = judged.run_id
LEFT JOIN allowed ON allowed.run_id = judged.run_id
ORDER BY judged.model, judged.method, judged.run_id
