-- Which forgotten answers come back under which rungs, and which under one alone?
-- $benchmark  VARCHAR    name of the benchmark
-- $models     VARCHAR[]  models to show; empty means all
-- $methods    VARCHAR[]  unlearning methods to show; empty means all
-- One row per complete run and set of rungs. rungs: those under which at least one treatment is
-- correct, weakest first; an answer is counted once, under its whole set, so that a set of one rung
-- says "comes back only there". recovered: forgotten answers (known to the base model, wrong on the
-- plain prompt, tried) with this set, of `groups` groups; share: of all that came back, in [0, 1];
-- total: these; forgotten: all that were tried. Strategy multiple_choice does not count: an answer
-- that is recognised is not said, and guessing finds it once in so many options. also_placebo: of
-- recovered, those that a placebo (any strategy, any draw) or a drawn answer to the plain prompt
-- brings back as well. also_never_knew: those that the retain model answers under a rung of the
-- set; NULL without one.
SELECT chosen.run_id, chosen.model, chosen.method, rungs, recovered, groups,
    recovered / total AS share, total, forgotten, also_placebo, also_never_knew
FROM chosen_runs($benchmark, $models::VARCHAR[], $methods::VARCHAR[]) AS chosen
JOIN rung_overlap AS found ON found.run_id = chosen.run_id
ORDER BY chosen.model, chosen.method, chosen.run_id, len(rungs), rungs
