-- How likely chance alone would give such an effect of emphasis, and a cross-check of it.
-- run_id: The run.
-- strategy: A strategy tried on its final weights, or any.
-- n: Forget examples that have an effect, a count; those that the base model knew.
-- groups: Groups of these examples, a count.
-- p: Two-sided p of the sign-flip permutation test by group; NULL from fewer than 8 groups.
-- p_holm: The same, adjusted by Holm over the strategies of the run; NULL for any and without p.
-- gained: Known facts correct under the first treatment and not under the first placebo; NULL for any.
-- lost: Known facts correct under the first placebo and not under the first treatment; NULL for any.
-- p_mcnemar: Two-sided exact p of these two counts, examples taken as independent; NULL for any.
-- reason: Why there is no p; NULL where there is one.
WITH effect_value AS (
    SELECT {'run_id': run_id, 'strategy': strategy} AS cell, "group", effect AS value
    FROM affected_effect WHERE NOT is_stand_in
), beside AS (
    SELECT DISTINCT run_id FROM affected_effect WHERE is_stand_in
), tested AS MATERIALIZED (
    SELECT tried.run_id, tried.strategy, coalesce(found.n, 0) AS n,
        coalesce(found.groups, 0) AS groups,
        beside.run_id IS NOT NULL AS is_beside,
        if(found.groups >= 8 AND NOT is_beside, found.p, NULL) AS p
    FROM tried_emphases('affected', 'affected_attempt') AS tried
    LEFT JOIN sign_flips('effect_value') AS found
        ON found.cell.run_id = tried.run_id AND found.cell.strategy = tried.strategy
    LEFT JOIN beside ON beside.run_id = tried.run_id
), adjusted AS (
    SELECT run_id, strategy, least(1.0, max(p * (tests - place + 1)) OVER (
        PARTITION BY run_id ORDER BY place ROWS UNBOUNDED PRECEDING)) AS p_holm
    FROM (
        SELECT run_id, strategy, p, count(*) OVER (PARTITION BY run_id) AS tests,
            row_number() OVER (PARTITION BY run_id ORDER BY p, strategy) AS place
        FROM tested WHERE p IS NOT NULL AND strategy <> 'any'
    )
), changes AS (
    SELECT run_id, strategy, count(*) FILTER (treatment AND NOT placebo) AS gained,
        count(*) FILTER (placebo AND NOT treatment) AS lost
    FROM first_draws('affected_known', 'affected_attempt') GROUP BY run_id, strategy
)
SELECT tested.run_id, tested.strategy, n, groups, p, p_holm, gained, lost,
    mcnemar(gained, lost) AS p_mcnemar,
    CASE
        WHEN p IS NOT NULL THEN NULL
        WHEN is_beside THEN 'the effect is beside other questions, whose groups are not paired with these'
        WHEN n = 0 THEN 'no known fact has an outcome under emphasis and under its placebo'
        ELSE format('{} groups, 8 needed', groups)
    END AS reason
FROM tested
LEFT JOIN adjusted ON adjusted.run_id = tested.run_id AND adjusted.strategy = tested.strategy
LEFT JOIN changes ON changes.run_id = tested.run_id AND changes.strategy = tested.strategy
