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
    SELECT run_id, example_id, strategy, any_value(rung) AS rung,
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
-- with_same and with_foreign count the placebos used.
-- Where the retain run is absent, questions of forget that the base model answers wrong stand for
-- what was never known, if they were tried: their rows are is_stand_in, their effect is of the run
-- alone, and their weight is known / wrong questions of their attribute that have an effect. An
-- attribute without a wrong one has weight 0 on both sides; otherwise a known fact weighs 1.
-- Without retain run and stand-ins, strategies of rung 2 do not count for 'any': what is steered
-- inside may give the answer itself.
-- of_known, of_wrong, of_outcomes: relations of known_facts, wrong_facts and final_outcomes.
CREATE OR REPLACE MACRO example_effects(of_runs, of_known, of_wrong, of_outcomes) AS TABLE
    WITH question AS (
        SELECT run_id, example_id, "group", attribute, false AS is_stand_in
        FROM query_table(of_known)
        UNION ALL
        SELECT own.run_id, example_id, "group", attribute, true
        FROM query_table(of_wrong) AS own
        JOIN query_table(of_runs) AS chosen ON chosen.run_id = own.run_id
        WHERE chosen.never_knew = 'absent'
    ), paired AS MATERIALIZED (
        SELECT question.*, own.strategy, coalesce(own.rung, 1) AS rung,
            chosen.never_knew, chosen.never_run_id IS NULL AS alone,
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
        FROM question
        JOIN query_table(of_runs) AS chosen ON chosen.run_id = question.run_id
        JOIN query_table(of_outcomes) AS own
            ON own.run_id = question.run_id AND own.example_id = question.example_id
        LEFT JOIN query_table(of_outcomes) AS never
            ON never.run_id = chosen.never_run_id AND never.example_id = own.example_id
            AND never.strategy = own.strategy
        WHERE own.treatment IS NOT NULL AND placebo IS NOT NULL
            AND never_treatment IS NOT NULL AND never_placebo IS NOT NULL
    ), with_stand_ins AS (
        SELECT DISTINCT run_id FROM paired WHERE is_stand_in
    ), with_any AS (
        SELECT run_id, example_id, "group", attribute, is_stand_in, strategy,
            uses_same::INTEGER AS with_same, 1 - with_same AS with_foreign, treatment, placebo,
            never_treatment, never_placebo
        FROM paired
        UNION ALL
        SELECT run_id, example_id, "group", attribute, is_stand_in, 'any',
            count(*) FILTER (uses_same), count(*) FILTER (NOT uses_same), bool_or(treatment),
            bool_or(first_placebo)::INTEGER, bool_or(never_treatment),
            bool_or(first_never_placebo)::INTEGER
        FROM paired
        WHERE rung < 2 OR never_knew <> 'absent' OR run_id IN (FROM with_stand_ins)
        GROUP BY run_id, example_id, "group", attribute, is_stand_in
    ), counted AS (
        SELECT *, count(*) FILTER (is_stand_in) OVER of_attribute AS wrong,
            count(*) FILTER (NOT is_stand_in) OVER of_attribute AS known
        FROM with_any WINDOW of_attribute AS (PARTITION BY run_id, strategy, attribute)
    )
    SELECT run_id, example_id, "group", attribute, is_stand_in, strategy, with_same, with_foreign,
        treatment::INTEGER - placebo - (never_treatment::INTEGER - never_placebo) AS effect,
        CASE
            WHEN run_id NOT IN (FROM with_stand_ins) THEN 1.0
            WHEN wrong = 0 THEN 0.0
            WHEN is_stand_in THEN known / wrong
            ELSE 1.0
        END AS weight
    FROM counted;

-- Emphases that were tried on the final weights of each run, and one row 'any' for every run.
-- of_attempts: a relation of final_attempts.
CREATE OR REPLACE MACRO tried_emphases(of_runs, of_attempts) AS TABLE
    SELECT DISTINCT run_id, strategy FROM query_table(of_attempts)
    WHERE is_emphasis AND run_id IN (SELECT run_id FROM query_table(of_runs))
    UNION ALL
    SELECT run_id, 'any' FROM query_table(of_runs);

-- Mean effect per run and row of tried_emphases; NULL where no example has an effect. placebo_arm:
-- the arm used, or both with their shares. stand_ins: wrongly answered questions that it is beside,
-- 0 for none; their weighted mean is subtracted, see contrasts. without_stand_in: known facts of
-- attributes that have none, left out. of_attempts, of_effects: relations of final_attempts and
-- example_effects.
CREATE OR REPLACE MACRO run_effects(of_runs, of_attempts, of_effects) AS TABLE
    WITH beside AS (
        SELECT DISTINCT run_id FROM query_table(of_effects) WHERE is_stand_in
    ), effect_value AS (
        SELECT {'run_id': run_id, 'strategy': strategy} AS cell, 'change' AS kind, "group",
            effect AS value, 1 AS weight
        FROM query_table(of_effects) WHERE run_id NOT IN (FROM beside)
    ), contrast_value AS (
        SELECT {'run_id': run_id, 'strategy': strategy} AS cell,
            if(is_stand_in, 'control', 'own') AS side, "group", effect AS value, weight
        FROM query_table(of_effects) WHERE run_id IN (FROM beside) AND weight > 0
    ), found AS (
        SELECT cell, estimate, low, high, n, 0 AS stand_ins, groups, alike
        FROM estimates('effect_value')
        UNION ALL
        SELECT cell, estimate, low, high, n, controls, groups, alike
        FROM contrasts('contrast_value')
    ), arms AS (
        SELECT run_id, strategy, sum(with_same) / sum(with_same + with_foreign) AS same_share,
            count(*) FILTER (weight = 0 AND NOT is_stand_in) AS without_stand_in
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
        END AS placebo_arm,
        coalesce(found.stand_ins, 0) AS stand_ins,
        coalesce(arms.without_stand_in, 0) AS without_stand_in
    FROM tried_emphases(of_runs, of_attempts) AS tried
    LEFT JOIN arms ON arms.run_id = tried.run_id AND arms.strategy = tried.strategy
    LEFT JOIN found
        ON found.cell.run_id = tried.run_id AND found.cell.strategy = tried.strategy;
