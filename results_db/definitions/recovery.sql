-- What several summaries and questions share, each defined once. summaries.py keeps it in every
-- results file, so that another DuckDB program can ask too, and brings its own where a file holds
-- another version.

---------- Intervals, 95 % ----------

-- Quantile 0.975 of Student's t; by Cornish and Fisher's expansion above 15 (error below 1e-6).
CREATE OR REPLACE MACRO t_quantile(degrees) AS CASE
    WHEN degrees <= 15 THEN [
        12.7062047362, 4.30265272975, 3.18244630528, 2.7764451052, 2.57058183564,
        2.44691185114, 2.36462425159, 2.3060041352, 2.2621571628, 2.22813885199,
        2.20098516009, 2.17881282967, 2.16036865646, 2.14478668792, 2.13144954556][degrees]
    ELSE 1.959963984540 + (2.372271230299 + (2.822498615740
        + (2.555849679508 + 1.589534053394 / degrees) / degrees) / degrees) / degrees
END;

-- Wilson's interval of a rate over n independent trials: its centre and its half width.
CREATE OR REPLACE MACRO wilson_centre(rate, n) AS
    (rate + 3.841458820694 / (2 * n)) / (1 + 3.841458820694 / n);
CREATE OR REPLACE MACRO wilson_half(rate, n) AS
    1.959963984540 * sqrt(rate * (1 - rate) / n + 3.841458820694 / (4 * n * n))
    / (1 + 3.841458820694 / n);

-- Estimates with intervals robust to groups, one row per cell of a table of values. of_source: name
-- of a relation with cell (struct), kind, "group", value and weight, one row per example; a row
-- with a NULL does not count. The estimate is R = sum(value) / sum(weight): a mean where weight is
-- 1, a ratio where it is the value on another model. Standard error: sqrt(G / (G - 1) * sum over
-- groups of (value - R weight)^2) / sum(weight); interval: R +- t(G - 1) * that. With one group
-- there is none: NULL. kind says what else holds, since a standard error of 0 is not certainty:
--   'rate': expit(logit(R) +- t(G - 1) * error / (R (1 - R))), which stays in [0, 1] and keeps its
--      coverage near 0 and 1 (docs/statistics.md); where each example is a group of its own and
--      weighs 1, and where groups do not differ, Wilson with n = G.
--   'change': where groups do not differ, R +- Wilson's upper bound of a rate 0 with n = G, over
--      the mean weight.
--   'share': a mean of values in [0, 1] that are no yes or no: the same as 'rate' where groups
--      differ, so that no bound is outside; where they do not, bounds equal R.
--   'measure': where groups do not differ, bounds equal R.
CREATE OR REPLACE MACRO estimates(of_source) AS TABLE
    WITH per_group AS (
        SELECT cell, kind, sum(value)::DOUBLE AS value, sum(weight)::DOUBLE AS weight, count(*) AS n
        FROM query_table(of_source) WHERE value IS NOT NULL AND weight IS NOT NULL
        GROUP BY cell, kind, "group"
    ), per_cell AS (
        SELECT cell, kind, sum(value) / nullif(sum(weight), 0) AS estimate, sum(weight) AS weight,
            sum(n)::BIGINT AS n, count(*) AS groups, list(value) AS group_values,
            list(weight) AS group_weights
        FROM per_group GROUP BY cell, kind
    ), spread AS (
        SELECT cell, kind, estimate, weight, n, groups,
            list_sum([
                (group_values[i] - estimate * group_weights[i]) ** 2 FOR i IN range(1, groups + 1)
            ]) AS squares,
            sqrt(groups / nullif(groups - 1, 0) * squares) / weight AS error, error < 1e-9 AS alike
        FROM per_cell
    ), halves AS (
        SELECT cell, kind, estimate, n, groups, alike,
            kind = 'rate' AND (alike OR (n = groups AND n = weight)) AS is_wilson,
            (kind = 'rate' AND NOT is_wilson) OR (kind = 'share' AND NOT alike) AS is_logit,
            if(is_wilson, wilson_centre(estimate, groups), estimate) AS centre,
            CASE
                WHEN groups < 2 THEN NULL
                WHEN is_wilson THEN wilson_half(estimate, groups)
                WHEN is_logit THEN t_quantile(groups - 1) * error / (estimate * (1 - estimate))
                WHEN NOT alike OR kind IN ('measure', 'share') THEN t_quantile(groups - 1) * error
                ELSE 2 * wilson_half(0, groups) * n / weight
            END AS half
        FROM spread
    )
    SELECT cell, estimate, n, groups, alike,
        CASE
            WHEN is_wilson AND estimate = 0 AND half IS NOT NULL THEN 0
            WHEN is_logit THEN estimate / (estimate + (1 - estimate) * exp(half))
            ELSE centre - half
        END AS low,
        CASE
            WHEN is_wilson AND estimate = 1 AND half IS NOT NULL THEN 1
            WHEN is_logit THEN estimate / (estimate + (1 - estimate) * exp(-half))
            ELSE centre + half
        END AS high
    FROM halves;

-- Groups at which an interval would leave a threshold, if the estimate and the spread stayed as
-- they are: bounds come closer with the root of the number of groups, and where groups are alike
-- with that number. half: from the estimate to the bound on the threshold's side. distance: to the
-- threshold, above 0.
CREATE OR REPLACE MACRO groups_needed(groups, half, distance, alike) AS
    greatest(8, ceil(if(alike, half * (groups + 3.841458820694) / distance - 3.841458820694,
        groups * (half / distance) ** 2)));

---------- Runs and plain answers ----------

-- Complete runs with what they are compared with. final_step: the step that results are about;
-- base_step: that of the base model; both NULL where it is not in the file. never_knew: whether the
-- file holds the retain run, 'present' or 'absent', or 'itself' for the retain run; only where it is
-- present has never_run_id a value. Macros below take the name of a relation of such runs as
-- of_runs.
CREATE OR REPLACE VIEW compared_run AS
    SELECT run.*, final.step AS final_step, final.weight_change, base_final.step AS base_step,
        CASE
            WHEN retain.run_id IS NULL THEN 'absent'
            WHEN retain.run_id = run.run_id THEN 'itself'
            ELSE 'present'
        END AS never_knew,
        if(never_knew = 'present', retain.run_id, NULL) AS never_run_id
    FROM run
    LEFT JOIN checkpoint AS final ON final.run_id = run.run_id AND final.is_final
    LEFT JOIN run AS base ON base.run_id = run.base_run_id AND base.status = 'complete'
    LEFT JOIN checkpoint AS base_final ON base_final.run_id = base.run_id AND base_final.is_final
    LEFT JOIN run AS retain ON retain.run_id = run.retain_run_id AND retain.status = 'complete'
    WHERE run.status = 'complete';

-- Whether a method is a reference and not unlearning.
CREATE OR REPLACE MACRO is_reference(of_method) AS of_method IN ('none', 'retrain', 'sham');

-- The seed and each setting of the method that has a value, as text, one row per run and key.
CREATE OR REPLACE MACRO settings_of(of_runs) AS TABLE
    SELECT run_id, 'seed' AS key, seed::VARCHAR AS value FROM query_table(of_runs)
    UNION ALL
    SELECT run_id, replace(tree.fullkey[3:], '"', ''), trim(tree.atom::VARCHAR, '"')
    FROM query_table(of_runs) AS chosen, json_tree(chosen.spec -> '$.settings') AS tree
    WHERE tree.atom IS NOT NULL;

-- Plain answers on the final weights beside the answer of the base model. base_correct is NULL
-- where that was not asked.
CREATE OR REPLACE MACRO final_answers(of_runs) AS TABLE
    SELECT chosen.run_id, answer.example_id, example.split, example."group", answer.correct,
        answer.guess_rate, base_answer.correct AS base_correct
    FROM query_table(of_runs) AS chosen
    JOIN answer ON answer.run_id = chosen.run_id AND answer.step = chosen.final_step
    JOIN example ON example.benchmark = chosen.benchmark AND example.example_id = answer.example_id
    LEFT JOIN answer AS base_answer ON base_answer.run_id = chosen.base_run_id
        AND base_answer.step = chosen.base_step AND base_answer.example_id = answer.example_id;

-- What each run's base model knew of the forget split, and whether the run still says it; forgotten
-- is not correct.
CREATE OR REPLACE MACRO known_facts(of_runs) AS TABLE
    SELECT run_id, example_id, "group", correct, guess_rate
    FROM final_answers(of_runs) WHERE split = 'forget' AND base_correct;

---------- Recovery ----------

-- Attempts at the final step of some runs and of their retain runs, with or without an outcome.
-- is_emphasis: of a strategy that uses KeyTokens (all do that recovery_strategy does not say
-- otherwise of); only these count for 'any'. rung: NULL for resample, which is no strategy.
CREATE OR REPLACE MACRO final_attempts(of_runs) AS TABLE
    SELECT recovery.*, known.rung, arm <> 'resample' AND coalesce(uses_key_tokens, true)
        AS is_emphasis
    FROM recovery
    JOIN checkpoint ON checkpoint.run_id = recovery.run_id AND checkpoint.step = recovery.step
    LEFT JOIN recovery_strategy AS known
        ON known.run_id = recovery.run_id AND known.strategy = recovery.strategy
    WHERE is_final AND recovery.run_id IN (
        SELECT unnest([run_id, never_run_id]) FROM query_table(of_runs));

-- The order in which a strategy's placebos are taken where one of them is needed; NULL for any
-- other arm.
CREATE OR REPLACE MACRO placebo_rank(of_arm) AS
    list_position(['placebo_same', 'placebo_foreign', 'placebo_format'], of_arm);

-- The arms of each attempt at emphasis of a relation of final_attempts side by side, one row per
-- run, example and strategy;
-- NULL where an arm has no outcome. placebo_same, placebo_foreign: fraction of the draws that are
-- correct. first_same, first_foreign: of draw 0 alone; first_placebo, the first in rank that has
-- one, stands against the treatment in 'any', one draw a strategy.
CREATE OR REPLACE MACRO final_outcomes(of_attempts) AS TABLE
    SELECT run_id, example_id, strategy,
        bool_or(correct) FILTER (arm = 'treatment') AS treatment,
        avg(correct::INTEGER) FILTER (arm = 'placebo_same') AS placebo_same,
        avg(correct::INTEGER) FILTER (arm = 'placebo_foreign') AS placebo_foreign,
        bool_or(correct) FILTER (arm = 'placebo_same' AND draw = 0) AS first_same,
        bool_or(correct) FILTER (arm = 'placebo_foreign' AND draw = 0) AS first_foreign,
        arg_min(correct, placebo_rank(arm))
            FILTER (correct IS NOT NULL AND arm <> 'treatment' AND draw = 0) AS first_placebo,
        max(guess_rate) FILTER (arm = 'treatment') AS treatment_guess,
        arg_min(guess_rate, placebo_rank(arm))
            FILTER (correct IS NOT NULL AND arm <> 'treatment' AND draw = 0)
            AS first_placebo_guess
    FROM query_table(of_attempts)
    WHERE is_emphasis
    GROUP BY run_id, example_id, strategy;

-- Final attempts on known facts, one row per run, example, strategy and arm; correct and guess_rate
-- are means over the draws. Strategy 'any' has the arms 'plain' (no strategy, on the facts that
-- were tried, on all where none was), 'treatment' and 'placebo': correct under any emphasis, with
-- one placebo, of one draw, per strategy, so that k emphases stand against k placebos; and
-- 'resample': correct in any of the answers drawn to the plain prompt. not_built: attempts without
-- an outcome. guess_rate of 'any': the chance that at least one of the answers would pass for a
-- random wrong value. of_known, of_attempts, of_outcomes: relations of known_facts, final_attempts
-- and final_outcomes.
CREATE OR REPLACE MACRO arm_outcomes(of_known, of_attempts, of_outcomes) AS TABLE
    WITH any_strategy AS (
        SELECT known.run_id, known.example_id, known."group", known.correct AS plain, unnest([
            {'arm': 'treatment', 'correct': bool_or(treatment),
                'guess_rate': 1 - product(1 - treatment_guess),
                'not_built': count(*) - count(treatment)},
            {'arm': 'placebo', 'correct': bool_or(first_placebo),
                'guess_rate': 1 - product(1 - first_placebo_guess),
                'not_built': count(*) - count(first_placebo)}
        ]) AS found
        FROM query_table(of_known) AS known
        JOIN query_table(of_outcomes) USING (run_id, example_id)
        GROUP BY known.run_id, known.example_id, known."group", known.correct
    ), own AS (
        SELECT known.run_id, known.example_id, known."group", known.correct AS plain,
            tried.* EXCLUDE (run_id, example_id)
        FROM query_table(of_known) AS known JOIN query_table(of_attempts) AS tried
            ON tried.run_id = known.run_id AND tried.example_id = known.example_id
    )
    SELECT run_id, example_id, "group", NOT plain AS forgotten, strategy, arm,
        avg(correct::INTEGER) AS correct, avg(guess_rate) AS guess_rate,
        count(*) - count(correct) AS not_built
    FROM own GROUP BY ALL
    UNION ALL
    SELECT run_id, example_id, "group", NOT plain, 'any', 'resample', bool_or(correct)::INTEGER,
        1 - product(1 - guess_rate), count(*) - count(correct)
    FROM own WHERE arm = 'resample' GROUP BY ALL
    UNION ALL
    SELECT run_id, example_id, "group", NOT plain, 'any', found.arm, found.correct::INTEGER,
        found.guess_rate, found.not_built
    FROM any_strategy
    UNION ALL
    SELECT run_id, example_id, "group", NOT correct, 'any', 'plain', correct::INTEGER, guess_rate, 0
    FROM query_table(of_known)
    WHERE run_id NOT IN (SELECT run_id FROM own)
        OR (run_id, example_id) IN (SELECT (run_id, example_id) FROM own);

-- The effect on each known fact, one row per run, example and strategy:
--   (treatment - placebo) on the run, minus the same on its retain run if that is present: -2 to 2;
-- above 0 the emphasis brings back more than a placebo does, beyond what it does to a model that
-- never knew. placebo_arm is placebo_same, else placebo_foreign: the same arm on both runs, as the
-- mean over its draws; where an outcome is missing, there is no row. Strategy 'any': correct under
-- any of the strategies that have a row for this example, against draw 0 of a placebo of each;
-- with_same and with_foreign count the placebos used. of_known, of_outcomes: relations of
-- known_facts and final_outcomes.
CREATE OR REPLACE MACRO example_effects(of_runs, of_known, of_outcomes) AS TABLE
    WITH paired AS MATERIALIZED (
        SELECT known.run_id, known.example_id, known."group", own.strategy,
            chosen.never_run_id IS NULL AS alone,
            own.placebo_same IS NOT NULL AND (alone OR never.placebo_same IS NOT NULL) AS uses_same,
            own.treatment, if(uses_same, own.placebo_same, own.placebo_foreign) AS placebo,
            if(uses_same, own.first_same, own.first_foreign) AS first_placebo,
            if(alone, false, never.treatment) AS never_treatment,
            CASE
                WHEN alone THEN 0
                WHEN uses_same THEN never.placebo_same
                ELSE never.placebo_foreign
            END AS never_placebo,
            CASE
                WHEN alone THEN false
                WHEN uses_same THEN never.first_same
                ELSE never.first_foreign
            END AS first_never_placebo
        FROM query_table(of_known) AS known
        JOIN query_table(of_runs) AS chosen ON chosen.run_id = known.run_id
        JOIN query_table(of_outcomes) AS own
            ON own.run_id = known.run_id AND own.example_id = known.example_id
        LEFT JOIN query_table(of_outcomes) AS never
            ON never.run_id = chosen.never_run_id AND never.example_id = own.example_id
            AND never.strategy = own.strategy
        WHERE own.treatment IS NOT NULL AND placebo IS NOT NULL
            AND never_treatment IS NOT NULL AND never_placebo IS NOT NULL
    ), with_any AS (
        SELECT run_id, example_id, "group", strategy, uses_same::INTEGER AS with_same,
            1 - with_same AS with_foreign, treatment, placebo, never_treatment, never_placebo
        FROM paired
        UNION ALL
        SELECT run_id, example_id, "group", 'any', count(*) FILTER (uses_same),
            count(*) FILTER (NOT uses_same), bool_or(treatment),
            bool_or(first_placebo)::INTEGER, bool_or(never_treatment),
            bool_or(first_never_placebo)::INTEGER
        FROM paired GROUP BY run_id, example_id, "group"
    )
    SELECT run_id, example_id, "group", strategy, with_same, with_foreign,
        treatment::INTEGER - placebo - (never_treatment::INTEGER - never_placebo) AS effect
    FROM with_any;

-- Emphases that were tried on the final weights of each run, and one row 'any' for every run.
-- of_attempts: a relation of final_attempts.
CREATE OR REPLACE MACRO tried_emphases(of_runs, of_attempts) AS TABLE
    SELECT DISTINCT run_id, strategy FROM query_table(of_attempts)
    WHERE is_emphasis AND run_id IN (SELECT run_id FROM query_table(of_runs))
    UNION ALL
    SELECT run_id, 'any' FROM query_table(of_runs);

-- Mean effect per run and row of tried_emphases; NULL where no example has an effect. placebo_arm:
-- the arm used, or both with their shares. of_attempts, of_effects: relations of final_attempts and
-- example_effects.
CREATE OR REPLACE MACRO run_effects(of_runs, of_attempts, of_effects) AS TABLE
    WITH effect_value AS (
        SELECT {'run_id': run_id, 'strategy': strategy} AS cell, 'change' AS kind, "group",
            effect AS value, 1 AS weight
        FROM query_table(of_effects)
    ), arms AS (
        SELECT run_id, strategy, sum(with_same) / sum(with_same + with_foreign) AS same_share
        FROM query_table(of_effects) GROUP BY run_id, strategy
    )
    SELECT tried.run_id, tried.strategy, found.estimate AS effect, found.low AS effect_low,
        found.high AS effect_high, coalesce(found.n, 0) AS n, coalesce(found.groups, 0) AS groups,
        found.alike,
        CASE same_share
            WHEN 1 THEN 'placebo_same'
            WHEN 0 THEN 'placebo_foreign'
            ELSE format('placebo_same {:.0f} %, placebo_foreign {:.0f} %', 100 * same_share,
                100 * (1 - same_share))
        END AS placebo_arm
    FROM tried_emphases(of_runs, of_attempts) AS tried
    LEFT JOIN arms ON arms.run_id = tried.run_id AND arms.strategy = tried.strategy
    LEFT JOIN estimates('effect_value') AS found
        ON found.cell.run_id = tried.run_id AND found.cell.strategy = tried.strategy;

---------- Tests ----------

-- Sign-flip permutation test by group, one row per cell of a relation with cell (struct), "group"
-- and value, one row per example; a row with a NULL does not count. Under the null hypothesis the
-- sum of a group's values is as likely to be above 0 as below, so its sign may be flipped; all
-- values of a group flip together. p: two-sided, (1 + flips whose |sum| is at least the observed)
-- / (1 + 1999 flips), so at least 0.0005. The flips are the bits of MD5 over '<flip>-<block>', a
-- block for each 64 groups in the order of their names: the same on every machine.
CREATE OR REPLACE MACRO sign_flips(of_source) AS TABLE
    WITH per_group AS MATERIALIZED (
        SELECT cell, "group", sum(value)::DOUBLE AS value, count(*) AS n,
            row_number() OVER (PARTITION BY cell ORDER BY "group") - 1 AS place
        FROM query_table(of_source) WHERE value IS NOT NULL GROUP BY cell, "group"
    ), per_cell AS (
        SELECT cell, abs(sum(value)) AS observed, sum(n)::BIGINT AS n, count(*) AS groups
        FROM per_group GROUP BY cell
    ), coin AS (
        SELECT flip, block, md5_number_lower(flip || '-' || block) AS bits
        FROM range(1, 2000) AS flips (flip)
        CROSS JOIN (SELECT DISTINCT place // 64 AS block FROM per_group) AS blocks
    ), flipped AS (
        SELECT per_group.cell, flip,
            abs(sum(if(bits >> (place % 64)::UBIGINT & 1 = 1, value, -value))) AS total
        FROM per_group JOIN coin ON block = place // 64
        WHERE value <> 0
        GROUP BY per_group.cell, flip
    ), extreme AS (
        SELECT flipped.cell, count(*) AS flips
        FROM flipped JOIN per_cell ON per_cell.cell = flipped.cell
        WHERE total >= observed - 1e-9
        GROUP BY flipped.cell
    )
    SELECT per_cell.cell, n, groups,
        if(observed < 1e-9, 1.0, (1 + coalesce(flips, 0)) / 2000) AS p
    FROM per_cell LEFT JOIN extreme ON extreme.cell = per_cell.cell;

-- McNemar's exact test: two-sided p of `gained` of gained + lost changes in one direction, where
-- both are equally likely; 1 without a change, NULL where they were not counted.
CREATE OR REPLACE MACRO mcnemar(gained, lost) AS
    if(gained + lost IS NULL, NULL, least(1.0, 2 * list_sum([
        exp(lgamma(gained + lost + 1) - lgamma(k + 1) - lgamma(gained + lost - k + 1)
            - (gained + lost) * ln(2))
        FOR k IN range(0, least(gained, lost) + 1)
    ])));

-- Treatment beside one placebo, the first draw of both: one row per run, known fact and strategy
-- that has both. Placebo: of the same prompt, else foreign. of_known, of_attempts: relations of
-- known_facts and final_attempts.
CREATE OR REPLACE MACRO first_draws(of_known, of_attempts) AS TABLE
    SELECT known.run_id, known.example_id, strategy,
        bool_or(tried.correct) FILTER (arm = 'treatment') AS treatment,
        coalesce(
            bool_or(tried.correct) FILTER (arm = 'placebo_same'),
            bool_or(tried.correct) FILTER (arm = 'placebo_foreign')) AS placebo
    FROM query_table(of_known) AS known
    JOIN query_table(of_attempts) AS tried
        ON tried.run_id = known.run_id AND tried.example_id = known.example_id
    WHERE draw = 0
    GROUP BY known.run_id, known.example_id, strategy
    HAVING treatment IS NOT NULL AND placebo IS NOT NULL;

---------- Utility ----------

-- One number for each thing that utility is measured on: correct answers (0 or 1), and the negative
-- log-likelihood of plain texts, nats per token or, where a run is read by words, per word.
CREATE OR REPLACE MACRO measurements() AS TABLE
    SELECT run_id, step, example_id, false AS is_nll, correct::INTEGER::DOUBLE AS value, guess_rate,
        'fraction' AS unit
    FROM answer
    UNION ALL
    SELECT run_id, step, example_id, true, value, NULL,
        if(unit = 'nats/word', 'perplexity per word', 'perplexity per token')
    FROM utility
    WHERE task = 'plain_text' AND metric = 'nll' AND example_id IS NOT NULL AND value IS NOT NULL;

-- Measurements, one row per run, measured step, measure and example, beside the base model's. measure: 'forget correct', 'retain correct', 'general correct', 'plain-text
-- perplexity'.
CREATE OR REPLACE MACRO utility_items(of_runs) AS TABLE
    SELECT chosen.run_id, own.step, own.is_nll, example."group", own.value, own.guess_rate,
        own.unit,
        if(own.is_nll, 'plain-text perplexity', example.split || ' correct') AS measure,
        base.value AS base_value
    FROM query_table(of_runs) AS chosen
    JOIN measurements() AS own ON own.run_id = chosen.run_id
    JOIN example ON example.benchmark = chosen.benchmark AND example.example_id = own.example_id
    LEFT JOIN measurements() AS base ON base.run_id = chosen.base_run_id
        AND base.step = chosen.base_step AND base.example_id = own.example_id
        AND base.is_nll = own.is_nll
    WHERE own.is_nll OR example.split IN ('forget', 'retain', 'general');

-- Estimates of what a run can do, and (is_kept) of what it keeps of its base model, paired by
-- example: one row per run, measured step, measure and is_kept of a relation of utility_items.
CREATE OR REPLACE MACRO utility_estimates(of_items) AS TABLE
    WITH item_value AS (
        SELECT {
                'run_id': run_id, 'step': step, 'measure': measure, 'is_nll': is_nll,
                'unit': unit, 'is_kept': false
            } AS cell,
            if(is_nll, 'measure', 'rate') AS kind, "group", value, 1 AS weight
        FROM query_table(of_items)
        UNION ALL
        SELECT {
                'run_id': run_id, 'step': step, 'measure': measure, 'is_nll': is_nll,
                'unit': unit, 'is_kept': true
            },
            if(is_nll, 'measure', 'change'), "group", if(is_nll, value - base_value, value),
            if(is_nll, 1 + 0 * base_value, base_value)
        FROM query_table(of_items)
    )
    FROM estimates('item_value');

-- What a run can do, one row per run, measured step and measure of a relation of
-- utility_estimates: fraction correct, or perplexity per token (or word): exp(mean negative
-- log-likelihood).
CREATE OR REPLACE MACRO utility_values(of_estimates) AS TABLE
    SELECT cell.run_id AS run_id, cell.step AS step, cell.measure AS measure,
        cell.is_nll AS is_nll,
        if(is_nll, exp(estimate), estimate) AS value, if(is_nll, exp(low), low) AS low,
        if(is_nll, exp(high), high) AS high, n, groups,
        cell.unit AS unit,
        list_position(['forget correct', 'retain correct', 'general correct'], measure) AS place
    FROM query_table(of_estimates) WHERE NOT cell.is_kept;

-- What a run keeps of its base model, one row per run, measured step and measure of a relation of
-- utility_estimates. ratio: 1 is as good as the base model; NULL where that has nothing right.
--   correct answers: of the run / of the base model.
--   perplexity: of the base model / of the run.
-- The base model's own ratio is 1, without uncertainty.
CREATE OR REPLACE MACRO utility_ratios(of_estimates) AS TABLE
    WITH found AS (
        SELECT cell, cell.is_nll AS is_nll, n, groups, alike,
            if(is_nll, exp(-estimate), estimate) AS ratio,
            CASE WHEN is_nll THEN exp(-high) WHEN low < 0 THEN 0 ELSE low END AS change_low,
            if(is_nll, exp(-low), high) AS change_high
        FROM query_table(of_estimates) WHERE cell.is_kept
    )
    SELECT run.run_id, cell.step AS step, cell.measure AS measure, ratio, n, groups, alike,
        if(run.run_id = run.base_run_id, ratio, change_low) AS low,
        if(run.run_id = run.base_run_id, ratio, change_high) AS high
    FROM found JOIN run ON run.run_id = found.cell.run_id;

-- Utility: the least ratio of retain correct, general correct and plain-text perplexity, one row
-- per run and measured step of a relation of utility_ratios; `worst` names it, of equal ones the first of retain,
-- general, texts. Bounds are the least
-- of the three bounds; the lower one is NULL unless all three have one. proven_low, proven_high:
-- the same from measures of 8 groups or more. measures: how many there are.
CREATE OR REPLACE MACRO least_utility(of_ratios) AS TABLE
    SELECT run_id, step, min(ratio) AS utility,
        arg_min(measure, [ratio, list_position(['retain correct', 'general correct'], measure)])
            FILTER (ratio IS NOT NULL) AS worst,
        if(count(low) = 3, min(low), NULL) AS low, min(high) AS high,
        if(count(low) FILTER (groups >= 8) = 3, min(low), NULL) AS proven_low,
        min(high) FILTER (groups >= 8) AS proven_high, count(ratio) AS measures
    FROM query_table(of_ratios) WHERE measure <> 'forget correct'
    GROUP BY run_id, step;

---------- Metrics ----------

-- What tasks and plain answers gave on the final weights of some runs, one row per run, metric and
-- example; split '' for a row that is about no example. value: what is averaged; stored: as the task
-- gave it. They differ for the truth ratio R: min(R, 1/R) of forget, max(0, 1 - R) of retain and
-- general.
CREATE OR REPLACE MACRO metric_items(of_runs) AS TABLE
    WITH given AS (
        SELECT run_id, step, task, metric, example_id, value, unit, higher_is_better, reason
        FROM utility WHERE task <> 'plain_text'
        UNION ALL
        SELECT run_id, step, 'answer', 'probability', example_id, exp(logprob), 'fraction', true, NULL
        FROM answer
        UNION ALL
        SELECT run_id, step, 'answer', 'rouge_l_recall', example_id, rouge_l_recall, 'fraction', true,
            NULL
        FROM answer
    )
    SELECT chosen.run_id, task, metric, coalesce(split, '') AS split, "group", attribute,
        given.example_id, value AS stored, unit, higher_is_better, reason,
        CASE
            WHEN task <> 'truth_ratio' THEN stored
            WHEN split = 'forget' THEN least(stored, 1 / stored)
            ELSE greatest(0, 1 - stored)
        END AS value
    FROM query_table(of_runs) AS chosen
    JOIN given ON given.run_id = chosen.run_id AND given.step = chosen.final_step
    LEFT JOIN example
        ON example.benchmark = chosen.benchmark AND example.example_id = given.example_id;

-- How well a loss-like score tells holdout from forget, per run and task of a relation of
-- metric_items: area under the ROC curve, forget 0, holdout 1, ties half; 1: forget is still known,
-- 0.5: no trace. NULL where either side has no value.
CREATE OR REPLACE MACRO membership_auc(of_items) AS TABLE
    WITH ranked AS (
        SELECT run_id, task, split = 'holdout' AS is_holdout,
            rank() OVER (PARTITION BY run_id, task ORDER BY value)
            + (count(*) OVER (PARTITION BY run_id, task, value) - 1) / 2 AS place
        FROM query_table(of_items)
        WHERE task IN ('min_k', 'min_k_plus_plus') AND split IN ('forget', 'holdout')
            AND value IS NOT NULL
    ), counted AS (
        SELECT run_id, task, count(*) FILTER (is_holdout) AS holdout,
            count(*) FILTER (NOT is_holdout) AS forget,
            sum(place) FILTER (is_holdout) AS places
        FROM ranked GROUP BY run_id, task
    )
    SELECT run_id, task, holdout + forget AS n,
        (places - holdout * (holdout + 1) / 2) / nullif(holdout * forget, 0) AS auc
    FROM counted;

-- Exact two-sided p of the two-sample Kolmogorov-Smirnov test with n values on either side, whose
-- distribution functions are at most h / n apart; NULL where n is.
CREATE OR REPLACE MACRO smirnov_p(n, h) AS
    CASE WHEN n IS NULL THEN NULL WHEN h = 0 THEN 1.0 ELSE least(1.0, greatest(0.0, 2 * list_sum([
        (-1) ** (j - 1) * exp(2 * lgamma(n + 1) - lgamma(n - j * h + 1) - lgamma(n + j * h + 1))
        FOR j IN range(1, n // h + 1)
    ]))) END;

---------- Focus ----------

-- A share of positive contribution, in [0, 1]; NULL where there is less of it than minimum_nats.
CREATE OR REPLACE MACRO focus_share(on_keys, on_question, minimum_nats) AS
    if(on_question >= minimum_nats, on_keys / nullif(on_question, 0), NULL);

-- The rule of KeyTokens (engine/attribute.py, key_tokens) for one question token. gain: its positive
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

---------- Trust ----------

-- Whether a check of an attribution passes; NULL where it has no value. Units: see table grade.
CREATE OR REPLACE MACRO measure_passes(of_measure, of_value) AS CASE of_measure
    WHEN 'completeness_gap' THEN abs(of_value) <= 0.05
    WHEN 'rank_agreement' THEN of_value >= 0.5
    WHEN 'replace_agreement' THEN of_value >= 0.5
    WHEN 'deletion_gap' THEN of_value > 0
END;

-- The grade of each attribution that was checked; NULL where the deletion could not be.
--   A: deleting the highest-ranked tokens hurts the answer more than deleting random ones, and
--      every other check that has a value (at least one) passes.
--   B: the same, but another check fails, or none has a value.
--   C: deleting the highest-ranked tokens hurts no more than deleting random ones.
CREATE OR REPLACE VIEW graded_attribution AS
    SELECT run_id, step, example_id, method, target, answer_tokens,
        CASE
            WHEN NOT bool_and(measure_passes(measure, value)) FILTER (measure = 'deletion_gap')
                THEN 'C'
            WHEN count(value) FILTER (measure = 'deletion_gap') = 0 THEN NULL
            WHEN bool_and(measure_passes(measure, value)) AND count(value) > 1 THEN 'A'
            ELSE 'B'
        END AS grade
    FROM grade
    GROUP BY run_id, step, example_id, method, target, answer_tokens;
