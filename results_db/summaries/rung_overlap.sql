-- Forgotten answers that come back, by the set of rungs that bring them, on the final weights.
-- run_id: The run.
-- rungs: Rungs under which at least one treatment is correct, weakest first; the whole set of an answer.
-- recovered: Answers with this set, a count.
-- groups: Groups of these answers, a count.
-- total: All forgotten answers that come back, a count.
-- forgotten: All forgotten answers (known to the base model, wrong on the plain prompt) that were tried, a count.
-- also_placebo: Of recovered, those that a placebo (any strategy, any draw) or a drawn answer to the plain prompt brings back as well.
-- also_never_knew: Of recovered, those that the retain model answers under a rung of the set; NULL without one.
WITH attempt AS MATERIALIZED (  -- to recognise an answer among options is not to say it
    FROM affected_attempt WHERE strategy <> 'multiple_choice'
), lost AS MATERIALIZED (
    SELECT known.run_id, never_run_id, known.example_id, known."group"
    FROM affected_known AS known JOIN affected ON affected.run_id = known.run_id
    WHERE NOT known.correct
), returned AS MATERIALIZED (
    SELECT lost.run_id, never_run_id, lost.example_id, "group",
        coalesce(list_sort(list(DISTINCT rung) FILTER (arm = 'treatment' AND correct)), [])
            AS rungs,
        coalesce(bool_or(correct) FILTER (arm <> 'treatment'), false) AS by_placebo
    FROM lost
    JOIN attempt AS tried ON tried.run_id = lost.run_id AND tried.example_id = lost.example_id
    GROUP BY lost.run_id, never_run_id, lost.example_id, "group"
), never AS (
    SELECT run_id, example_id, list(DISTINCT rung) AS rungs
    FROM attempt WHERE arm = 'treatment' AND correct GROUP BY run_id, example_id
), size AS (
    SELECT run_id, count(*) AS forgotten, count(*) FILTER (len(rungs) > 0) AS total
    FROM returned GROUP BY run_id
)
SELECT returned.run_id, returned.rungs, count(*) AS recovered,
    count(DISTINCT returned."group") AS groups, any_value(total) AS total,
    any_value(forgotten) AS forgotten, count(*) FILTER (by_placebo) AS also_placebo,
    sum(if(never_run_id IS NULL, NULL,
        coalesce(list_has_any(returned.rungs, never.rungs), false)::INTEGER))::BIGINT
        AS also_never_knew
FROM returned
JOIN size ON size.run_id = returned.run_id
LEFT JOIN never ON never.run_id = returned.never_run_id AND never.example_id = returned.example_id
WHERE len(returned.rungs) > 0
GROUP BY returned.run_id, returned.rungs
