-- How far can a run's attributions be trusted?
-- $benchmark  VARCHAR    name of the benchmark
-- $models     VARCHAR[]  models to show; empty means all
-- $methods    VARCHAR[]  unlearning methods to show; empty means all
-- $attribution_method  VARCHAR  e.g. 'leave_one_out'
-- $target              VARCHAR  whose answer: 'gold', 'base_generation' or 'own_generation'
-- $answer_tokens       VARCHAR  which tokens of it: 'all' or 'novel'
-- One row per complete run and check that has a value on its final weights, over the forget and
-- retain prompts that were graded. estimate: mean over n prompts, in the unit of the check (see
-- table grade), with a 95 % interval robust to groups, cut to the range of a correlation. passed:
-- fraction of them within the threshold of macro measure_passes. grade_a, grade_b, grade_c:
-- prompts of that grade, see graded_attribution, the same on every row of a run.
WITH checked AS MATERIALIZED (
    SELECT chosen.run_id, chosen.model, chosen.method, example."group", found.measure, found.value,
        found.unit,
        measure_passes(found.measure, found.value) AS passes
    FROM chosen_runs($benchmark, $models::VARCHAR[], $methods::VARCHAR[]) AS chosen
    JOIN grade AS found ON found.run_id = chosen.run_id AND found.step = chosen.final_step
    JOIN example
        ON example.benchmark = chosen.benchmark AND example.data_hash = chosen.data_hash
        AND example.example_id = found.example_id
    WHERE found.method = $attribution_method AND target = $target
        AND answer_tokens = $answer_tokens
), item AS (
    SELECT {'run_id': run_id, 'measure': measure} AS cell, 'measure' AS kind, "group", value,
        1 AS weight
    FROM checked
), counted AS (
    SELECT run_id, model, method, measure, unit, avg(passes::INTEGER) AS passed
    FROM checked GROUP BY ALL
), graded AS (
    SELECT run_id, step, count(*) FILTER (grade = 'A') AS grade_a,
        count(*) FILTER (grade = 'B') AS grade_b, count(*) FILTER (grade = 'C') AS grade_c
    FROM graded_attribution
    WHERE method = $attribution_method AND target = $target AND answer_tokens = $answer_tokens
    GROUP BY run_id, step
)
SELECT counted.run_id, model, method, counted.measure, found.estimate,
    if(unit = 'rank correlation', greatest(found.low, -1), found.low) AS low,
    if(unit = 'rank correlation', least(found.high, 1), found.high) AS high,
    found.n, found.groups, unit, passed, grade_a, grade_b, grade_c
FROM counted
JOIN estimates('item') AS found
    ON found.cell.run_id = counted.run_id AND found.cell.measure = counted.measure
JOIN checkpoint ON checkpoint.run_id = counted.run_id AND checkpoint.is_final
JOIN graded ON graded.run_id = counted.run_id AND graded.step = checkpoint.step
ORDER BY model, method, counted.run_id, list_position(
    ['deletion_gap', 'rank_agreement', 'replace_agreement', 'completeness_gap'], counted.measure)
