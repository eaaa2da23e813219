-- On which prompts is a run like itself, and on which furthest from that?
-- $run_id              VARCHAR  the run
-- $attribution_method  VARCHAR  e.g. 'leave_one_out'
-- $minimum_nats        DOUBLE   no focus below this sum of positive contributions, e.g. 0.05
-- One row per prompt, at most seven: forget prompts that the base model knew, in rising order of
-- shift. shift: focus on the KeyTokens for the gold answer's novel words, the run's minus the base
-- model's, -1 to 1. place: 'least' and 'most' are the two extremes, 'median' the five others that are
-- nearest median_shift, the median over the n such prompts that have a shift; of equals the first by
-- id. Which are shown does not depend on any answer. before, after: answers of base model and run to the plain prompt.
-- strategy: the first that emphasises KeyTokens, by rung and name, the same on every row; emphasised:
-- its answer, NULL where it was not built. brought_back, tried: strategies that emphasise KeyTokens
-- whose answer is right, and that were tried; placebo_right, placebo_tried: the same of one placebo
-- each, the first in rank that has an outcome.
WITH chosen AS MATERIALIZED (
    FROM compared WHERE run_id = $run_id
), shift AS MATERIALIZED (
    SELECT pair.example_id, focus_before, focus_after, focus_after - focus_before AS shift
    FROM focus_pairs('chosen', $attribution_method, 'gold', 'novel', $minimum_nats) AS pair
    SEMI JOIN known_facts('chosen') AS known
        ON known.run_id = pair.run_id AND known.example_id = pair.example_id
    WHERE focus_after IS NOT NULL AND focus_before IS NOT NULL
), middle AS (
    SELECT median(shift) AS median_shift, count(*) AS n FROM shift
), placed AS (
    SELECT shift.*, median_shift, n,
        row_number() OVER (ORDER BY shift, example_id) AS from_least,
        row_number() OVER (ORDER BY shift DESC, example_id DESC) AS from_most
    FROM shift CROSS JOIN middle
), ranked AS (
    SELECT *,
        CASE WHEN from_least = 1 THEN 'least' WHEN from_most = 1 THEN 'most' ELSE 'median' END
            AS place,
        row_number() OVER (PARTITION BY from_least = 1 OR from_most = 1
            ORDER BY abs(shift - median_shift), example_id) AS from_median
    FROM placed
), kept AS MATERIALIZED (
    FROM ranked WHERE place <> 'median' OR from_median <= 5
), attempted AS MATERIALIZED (
    FROM final_attempts('chosen') AS made
    WHERE is_emphasis AND run_id = $run_id AND example_id IN (SELECT example_id FROM kept)
), counted AS (
    SELECT example_id, count(*) FILTER (treatment) AS brought_back, count(treatment) AS tried,
        count(*) FILTER (first_placebo) AS placebo_right, count(first_placebo) AS placebo_tried
    FROM final_outcomes('attempted') GROUP BY example_id
), one AS (
    SELECT strategy FROM attempted WHERE arm = 'treatment'
    ORDER BY rung NULLS LAST, strategy LIMIT 1
)
SELECT kept.example_id, place, example.prompt, example.answer AS gold, focus_before, focus_after, shift,
    median_shift, n, base.text AS before, base.correct AS before_correct, own.text AS after,
    own.correct AS after_correct, one.strategy, shown.text AS emphasised,
    shown.correct AS emphasised_correct, coalesce(brought_back, 0) AS brought_back,
    coalesce(tried, 0) AS tried, coalesce(placebo_right, 0) AS placebo_right,
    coalesce(placebo_tried, 0) AS placebo_tried
FROM kept
CROSS JOIN chosen
JOIN example ON example.benchmark = chosen.benchmark AND example.data_hash = chosen.data_hash
    AND example.example_id = kept.example_id
JOIN answer AS base ON base.run_id = chosen.base_run_id AND base.step = chosen.base_step
    AND base.example_id = kept.example_id
LEFT JOIN answer AS own ON own.run_id = chosen.run_id AND own.step = chosen.final_step
    AND own.example_id = kept.example_id
LEFT JOIN counted ON counted.example_id = kept.example_id
LEFT JOIN one ON true
LEFT JOIN attempted AS shown ON shown.example_id = kept.example_id
    AND shown.strategy = one.strategy AND shown.arm = 'treatment' AND shown.draw = 0
ORDER BY shift, kept.example_id
