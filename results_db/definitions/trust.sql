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
