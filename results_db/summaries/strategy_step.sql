-- What one strategy brings at a measured step, of the forget examples that the base model knew.
-- run_id: The run.
-- step: The measured step.
-- strategy: The strategy; draw 0.
-- n: Known facts tried, a count.
-- has_treatment: Whether a treatment was tried, with or without an outcome.
-- emphasis: Fraction correct under the treatment, in [0, 1]; NULL without an outcome on known facts.
-- placebo: Fraction correct under its placebo: same, else foreign, else format; NULL likewise.
WITH attempt AS (
    SELECT tried.run_id, tried.step, tried.strategy, known.example_id IS NOT NULL AS is_known,
        bool_or(arm = 'treatment') AS has_treatment,
        bool_or(tried.correct) FILTER (arm = 'treatment') AS treatment,
        arg_min(tried.correct, placebo_rank(arm))
            FILTER (arm <> 'treatment' AND tried.correct IS NOT NULL) AS placebo
    FROM recovery AS tried
    JOIN affected ON affected.run_id = tried.run_id
    LEFT JOIN affected_known AS known
        ON known.run_id = tried.run_id AND known.example_id = tried.example_id
    WHERE draw = 0 AND arm <> 'resample'
    GROUP BY tried.run_id, tried.step, tried.strategy, tried.example_id, is_known
)
SELECT run_id, step, strategy, count(*) FILTER (is_known) AS n,
    bool_or(has_treatment) AS has_treatment,
    avg(treatment::INTEGER) FILTER (is_known) AS emphasis,
    avg(placebo::INTEGER) FILTER (is_known) AS placebo
FROM attempt GROUP BY run_id, step, strategy
