-- What several summaries and questions share, each defined once. summaries.py keeps it in every
-- results file, so that another DuckDB program can ask too, and brings its own where a file holds
-- another version.

---------- Intervals, 95 % ----------

-- Quantile 0.975 of Student's t; by Cornish and Fisher's expansion above 15 (error below 1e-6).
CREATE OR REPLACE MACRO t_quantile(degrees) AS CASE
    WHEN degrees <= 15 THEN [
        12.7062047362, 4.30265272975, 3.18244630528, 2.7764451052, 2.57058183564,
        2.44691185114, 2.36462425159, 2.3060041352, 2.2621571628, 2.22813885199,
        2.20098516009, 2.17881282967, 2.16036865646, 2.14478668792, 2.13144954556][degrees]
    ELSE 1.959963984540 + (2.372271230299 + (2.822498615740
        + (2.555849679508 + 1.589534053394 / degrees) / degrees) / degrees) / degrees
END;

-- Wilson's interval of a rate over n independent trials: its centre and its half width.
CREATE OR REPLACE MACRO wilson_centre(rate, n) AS
    (rate + 3.841458820694 / (2 * n)) / (1 + 3.841458820694 / n);
CREATE OR REPLACE MACRO wilson_half(rate, n) AS
    1.959963984540 * sqrt(rate * (1 - rate) / n + 3.841458820694 / (4 * n * n))
    / (1 + 3.841458820694 / n);

-- Estimates with intervals robust to groups, one row per cell of a table of values. of_source: name
-- of a relation with cell (struct), kind, "group", value and weight, one row per example; a row
-- with a NULL does not count. The estimate is R = sum(value) / sum(weight): a mean where weight is
-- 1, a ratio where it is the value on another model. Standard error: sqrt(G / (G - 1) * sum over
-- groups of (value - R weight)^2) / sum(weight); interval: R +- t(G - 1) * that. With one group
-- there is none: NULL. kind says what else holds, since a standard error of 0 is not certainty:
--   'rate': expit(logit(R) +- t(G - 1) * error / (R (1 - R))), which stays in [0, 1] and keeps its
--      coverage near 0 and 1 (docs/statistics.md); where each example is a group of its own and
--      weighs 1, and where groups do not differ, Wilson with n = G.
--   'change': where groups do not differ, R +- Wilson's upper bound of a rate 0 with n = G, over
--      the mean weight.
--   'share': a mean of values in [0, 1] that are no yes or no: the same as 'rate' where groups
--      differ, so that no bound is outside; where they do not, bounds equal R.
--   'measure': where groups do not differ, bounds equal R.
CREATE OR REPLACE MACRO estimates(of_source) AS TABLE
    WITH per_group AS (
        SELECT cell, kind, sum(value)::DOUBLE AS value, sum(weight)::DOUBLE AS weight, count(*) AS n
        FROM query_table(of_source) WHERE value IS NOT NULL AND weight IS NOT NULL
        GROUP BY cell, kind, "group"
    ), per_cell AS (
        SELECT cell, kind, sum(value) / nullif(sum(weight), 0) AS estimate, sum(weight) AS weight,
            sum(n)::BIGINT AS n, count(*) AS groups, list(value) AS group_values,
            list(weight) AS group_weights
        FROM per_group GROUP BY cell, kind
    ), spread AS (
        SELECT cell, kind, estimate, weight, n, groups,
            list_sum([
                (group_values[i] - estimate * group_weights[i]) ** 2 FOR i IN range(1, groups + 1)
            ]) AS squares,
            sqrt(groups / nullif(groups - 1, 0) * squares) / weight AS error, error < 1e-9 AS alike
        FROM per_cell
    ), halves AS (
        SELECT cell, kind, estimate, n, groups, alike,
            kind = 'rate' AND (alike OR (n = groups AND n = weight)) AS is_wilson,
            (kind = 'rate' AND NOT is_wilson) OR (kind = 'share' AND NOT alike) AS is_logit,
            if(is_wilson, wilson_centre(estimate, groups), estimate) AS centre,
            CASE
                WHEN groups < 2 THEN NULL
                WHEN is_wilson THEN wilson_half(estimate, groups)
                WHEN is_logit THEN t_quantile(groups - 1) * error / (estimate * (1 - estimate))
                WHEN NOT alike OR kind IN ('measure', 'share') THEN t_quantile(groups - 1) * error
                ELSE 2 * wilson_half(0, groups) * n / weight
            END AS half
        FROM spread
    )
    SELECT cell, estimate, n, groups, alike,
        CASE
            WHEN is_wilson AND estimate = 0 AND half IS NOT NULL THEN 0
            WHEN is_logit THEN estimate / (estimate + (1 - estimate) * exp(half))
            ELSE centre - half
        END AS low,
        CASE
            WHEN is_wilson AND estimate = 1 AND half IS NOT NULL THEN 1
            WHEN is_logit THEN estimate / (estimate + (1 - estimate) * exp(-half))
            ELSE centre + half
        END AS high
    FROM halves;

-- Difference of two weighted means over different examples, 95 %, robust to groups, one row per cell.
-- of_source: name of a relation with cell (struct), side ('own' or 'control'), "group", value and
-- weight, one row per example; a row with a NULL does not count. Each side is R = sum(weight value)
-- / sum(weight), with G groups, whose residuals are sqrt(G / (G - 1)) * sum over the group of weight
-- (value - R) / sum(weight). Squared error: sum over groups of (own - control residual)^2, so for
-- sides without a common group that of two independent means, and groups on both sides carry their
-- covariance. Interval: estimate +- t(least G - 1) * error; where the groups of a side do not
-- differ, Wilson's upper bound of a rate 0 with n = G is added in squares for that side, since an
-- error of 0 is not certainty. NULL bounds where a side has one group. n: examples of own; controls:
-- of control; groups: the smaller number of groups.
CREATE OR REPLACE MACRO contrasts(of_source) AS TABLE
    WITH per_group AS MATERIALIZED (
        SELECT cell, side, "group", sum(weight * value)::DOUBLE AS value,
            sum(weight)::DOUBLE AS weight, count(*) AS n
        FROM query_table(of_source) WHERE value IS NOT NULL AND weight IS NOT NULL
        GROUP BY cell, side, "group"
    ), per_side AS MATERIALIZED (
        SELECT cell, side, sum(value) / nullif(sum(weight), 0) AS estimate, sum(weight) AS weight,
            sum(n)::BIGINT AS n, count(*) AS groups
        FROM per_group GROUP BY cell, side
    ), residual AS MATERIALIZED (
        SELECT part.cell, part.side, part."group",
            sqrt(groups / nullif(groups - 1, 0)) * (value - estimate * part.weight) / whole.weight
                AS residual
        FROM per_group AS part
        JOIN per_side AS whole ON whole.cell = part.cell AND whole.side = part.side
    ), side_error AS (
        SELECT cell, side, sqrt(sum(residual ** 2)) AS error FROM residual GROUP BY cell, side
    ), joint_error AS (
        SELECT cell, sum(residual ** 2) AS square FROM (
            SELECT cell, sum(if(side = 'own', residual, -residual)) AS residual
            FROM residual GROUP BY cell, "group"
        ) GROUP BY cell
    ), whole AS (
        SELECT per_side.cell, sum(if(side = 'own', estimate, -estimate)) AS estimate,
            max(n) FILTER (side = 'own') AS n, max(n) FILTER (side = 'control') AS controls,
            min(groups) AS groups, bool_and(error < 1e-9) AS alike,
            sum(if(error < 1e-9, (2 * wilson_half(0, groups)) ** 2, 0)) AS unseen,
            any_value(square) AS square
        FROM per_side
        JOIN side_error USING (cell, side)
        JOIN joint_error ON joint_error.cell = per_side.cell
        GROUP BY per_side.cell HAVING count(*) = 2
    )
    SELECT cell, estimate, n, controls, groups, alike,
        if(groups < 2, NULL, sqrt(square * t_quantile(groups - 1) ** 2 + unseen)) AS half,
        estimate - half AS low, estimate + half AS high
    FROM whole;

-- Groups at which an interval would leave a threshold, if the estimate and the spread stayed as
-- they are: bounds come closer with the root of the number of groups, and where groups are alike
-- with that number. half: from the estimate to the bound on the threshold's side. distance: to the
-- threshold, above 0.
CREATE OR REPLACE MACRO groups_needed(groups, half, distance, alike) AS
    greatest(8, ceil(if(alike, half * (groups + 3.841458820694) / distance - 3.841458820694,
        groups * (half / distance) ** 2)));
