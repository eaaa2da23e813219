---------- Tests ----------

-- Sign-flip permutation test by group, one row per cell of a relation with cell (struct), "group"
-- and value, one row per example; a row with a NULL does not count. Under the null hypothesis the
-- sum of a group's values is as likely to be above 0 as below, so its sign may be flipped; all
-- values of a group flip together. p: two-sided, (1 + flips whose |sum| is at least the observed)
-- / (1 + 1999 flips), so at least 0.0005. The flips are the bits of MD5 over '<flip>-<block>', a
-- block for each 64 groups in the order of their names: the same on every machine.
CREATE OR REPLACE MACRO sign_flips(of_source) AS TABLE
    WITH per_group AS MATERIALIZED (
        SELECT cell, "group", sum(value)::DOUBLE AS value, count(*) AS n,
            row_number() OVER (PARTITION BY cell ORDER BY "group") - 1 AS place
        FROM query_table(of_source) WHERE value IS NOT NULL GROUP BY cell, "group"
    ), per_cell AS (
        SELECT cell, abs(sum(value)) AS observed, sum(n)::BIGINT AS n, count(*) AS groups
        FROM per_group GROUP BY cell
    ), coin AS (
        SELECT flip, block, md5_number_lower(flip || '-' || block) AS bits
        FROM range(1, 2000) AS flips (flip)
        CROSS JOIN (SELECT DISTINCT place // 64 AS block FROM per_group) AS blocks
    ), flipped AS (
        SELECT per_group.cell, flip,
            abs(sum(if(bits >> (place % 64)::UBIGINT & 1 = 1, value, -value))) AS total
        FROM per_group JOIN coin ON block = place // 64
        WHERE value <> 0
        GROUP BY per_group.cell, flip
    ), extreme AS (
        SELECT flipped.cell, count(*) AS flips
        FROM flipped JOIN per_cell ON per_cell.cell = flipped.cell
        WHERE total >= observed - 1e-9
        GROUP BY flipped.cell
    )
    SELECT per_cell.cell, n, groups,
        if(observed < 1e-9, 1.0, (1 + coalesce(flips, 0)) / 2000) AS p
    FROM per_cell LEFT JOIN extreme ON extreme.cell = per_cell.cell;

-- McNemar's exact test: two-sided p of `gained` of gained + lost changes in one direction, where
-- both are equally likely; 1 without a change, NULL where they were not counted.
CREATE OR REPLACE MACRO mcnemar(gained, lost) AS
    if(gained + lost IS NULL, NULL, least(1.0, 2 * list_sum([
        exp(lgamma(gained + lost + 1) - lgamma(k + 1) - lgamma(gained + lost - k + 1)
            - (gained + lost) * ln(2))
        FOR k IN range(0, least(gained, lost) + 1)
    ])));

-- Treatment beside one placebo, the first draw of both: one row per run, known fact and strategy
-- that has both. Placebo: of the same prompt, else foreign. of_known, of_attempts: relations of
-- known_facts and final_attempts.
CREATE OR REPLACE MACRO first_draws(of_known, of_attempts) AS TABLE
    SELECT known.run_id, known.example_id, strategy,
        bool_or(tried.correct) FILTER (arm = 'treatment') AS treatment,
        coalesce(
            bool_or(tried.correct) FILTER (arm = 'placebo_same'),
            bool_or(tried.correct) FILTER (arm = 'placebo_foreign')) AS placebo
    FROM query_table(of_known) AS known
    JOIN query_table(of_attempts) AS tried
        ON tried.run_id = known.run_id AND tried.example_id = known.example_id
    WHERE draw = 0
    GROUP BY known.run_id, known.example_id, strategy
    HAVING treatment IS NOT NULL AND placebo IS NOT NULL;
