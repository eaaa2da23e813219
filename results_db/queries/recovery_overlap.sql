-- Which forgotten answers come back under which rungs, and which under one alone?
-- $benchmark  VARCHAR    name of the benchmark
-- $models     VARCHAR[]  models to show; empty means all
-- $methods    VARCHAR[]  unlearning methods to show; empty means all
-- One row per complete run and set of rungs. rungs: those under which at least one treatment is
-- correct, weakest first; an answer is counted once, under its whole set, so that a set of one rung
-- says "comes back only there". recovered: forgotten answers (known to the base model, wrong on the
-- plain prompt, tried) with this set, of `groups` groups; share: of all that came back, in [0, 1];
-- total: these; forgotten: all that were tried. Strategy multiple_choice does not count: an answer
-- that is recognised is not said, and guessing finds it once in so many options. also_placebo: of recovered, those that a placebo
-- (any strategy, any draw) or a drawn answer to the plain prompt brings back as well.
-- also_never_knew: those that the retain model answers under a rung of the set; NULL without one.
WITH chosen AS MATERIALIZED (
    FROM chosen_runs($benchmark, $models::VARCHAR[], $methods::VARCHAR[])
), attempt AS MATERIALIZED (
    FROM final_attempts('chosen') WHERE strategy <> 'multiple_choice'
), forgotten AS MATERIALIZED (
    SELECT run_id, never_run_id, example_id, "group"
    FROM known_facts('chosen') JOIN chosen USING (run_id)
    WHERE NOT correct AND (run_id, example_id) IN (SELECT (run_id, example_id) FROM attempt)
), returned AS (
    SELECT lost.run_id, never_run_id, lost.example_id, "group",
        coalesce(list_sort(list(DISTINCT rung) FILTER (arm = 'treatment' AND correct)), [])
            AS rungs,
        coalesce(bool_or(correct) FILTER (arm <> 'treatment'), false) AS by_placebo
    FROM forgotten AS lost
    JOIN attempt AS tried ON tried.run_id = lost.run_id AND tried.example_id = lost.example_id
    GROUP BY lost.run_id, never_run_id, lost.example_id, "group"
), beside AS (
    SELECT returned.*, if(never_run_id IS NULL, NULL, EXISTS (
        SELECT 1 FROM attempt AS never
        WHERE never.run_id = never_run_id AND never.example_id = returned.example_id
            AND never.arm = 'treatment' AND never.correct AND list_contains(rungs, never.rung)
    )) AS by_never
    FROM returned
), counted AS (
    SELECT run_id, rungs, count(*) AS recovered, count(DISTINCT "group") AS groups,
        count(*) FILTER (by_placebo) AS also_placebo,
        sum(by_never::INTEGER)::BIGINT AS also_never_knew
    FROM beside WHERE len(rungs) > 0 GROUP BY run_id, rungs
), size AS (
    SELECT run_id, count(*) AS forgotten, count(*) FILTER (len(rungs) > 0) AS total
    FROM returned GROUP BY run_id
)
SELECT chosen.run_id, chosen.model, chosen.method, rungs, recovered, groups,
    recovered / total AS share, total, forgotten, also_placebo, also_never_knew
FROM chosen JOIN counted USING (run_id) JOIN size USING (run_id)
ORDER BY chosen.model, chosen.method, chosen.run_id, len(rungs), rungs
