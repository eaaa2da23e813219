-- Could chance alone explain what emphasis brings back?
-- $benchmark  VARCHAR    name of the benchmark
-- $models     VARCHAR[]  models to show; empty means all
-- $methods    VARCHAR[]  unlearning methods to show; empty means all
-- One row per complete run of an unlearning method and strategy, with 'any'. effect: see query
-- effects. p: two-sided sign-flip permutation test by group; p_holm: adjusted over the strategies of
-- the run. gained, lost: known facts that only the first treatment, or only the first placebo, gets
-- right; p_mcnemar: exact test of these, which takes examples as independent. seeds: runs of the
-- same measurement version that differ in their seed alone; spread: standard deviation of their effects, NULL with one seed.
-- reason: why there is no p.
WITH seeded AS (
    SELECT run_id, benchmark, model, method, measurement, data_hash,
        json_extract_string(spec, '$.settings') AS settings
    FROM run WHERE status = 'complete'
), repeated AS (
    SELECT benchmark, model, method, measurement, data_hash, settings, strategy,
        count(effect) AS seeds,
        stddev_samp(effect) AS spread
    FROM seeded JOIN run_effect USING (run_id)
    GROUP BY benchmark, model, method, measurement, data_hash, settings, strategy
)
SELECT chosen.run_id, chosen.model, chosen.method, tested.strategy, effect, effect_low,
    effect_high, tested.n, tested.groups, p, p_holm, gained, lost, p_mcnemar, seeds, spread, reason
FROM chosen_runs($benchmark, $models::VARCHAR[], $methods::VARCHAR[]) AS chosen
JOIN effect_test AS tested ON tested.run_id = chosen.run_id
JOIN run_effect AS effects ON effects.run_id = tested.run_id
    AND effects.strategy = tested.strategy
JOIN seeded ON seeded.run_id = chosen.run_id
LEFT JOIN repeated ON repeated.benchmark = seeded.benchmark AND repeated.model = seeded.model
    AND repeated.method = seeded.method AND repeated.measurement = seeded.measurement
    AND repeated.data_hash = seeded.data_hash
    AND repeated.settings IS NOT DISTINCT FROM seeded.settings
    AND repeated.strategy = tested.strategy
WHERE NOT is_reference(chosen.method)
ORDER BY chosen.model, chosen.method, chosen.run_id, tested.strategy = 'any', tested.strategy
