-- How far can the attributions of one example be trusted?
-- $example_id  VARCHAR  the example
-- One row per check of an attribution of it; none where it was not graded. measure, value, unit:
-- see table grade; passes: whether the value is within the threshold of macro measure_passes; NULL
-- with a reason where there is none. grade: of the whole attribution, A to C, see
-- graded_attribution.
SELECT run_id, step, method, target, answer_tokens, measure, value, unit,
    measure_passes(measure, value) AS passes, reason, grade
FROM grade AS checked
JOIN graded_attribution USING (run_id, step, example_id, method, target, answer_tokens)
WHERE example_id = $example_id
ORDER BY run_id, step, method, target, answer_tokens, list_position(
    ['deletion_gap', 'rank_agreement', 'replace_agreement', 'completeness_gap'], measure)
