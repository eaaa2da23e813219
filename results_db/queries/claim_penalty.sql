-- Claim 3: does a loss on fact words alone cost less, at equal forgetting, than one on other tokens?
-- $benchmark  VARCHAR    name of the benchmark
-- $models     VARCHAR[]  models to show; empty means all
-- $methods    VARCHAR[]  unlearning methods to show; empty means all
-- Rules: docs/claims.md.
-- One row per model, method (with all settings but penalise and seed) that has complete runs with
-- penalise = 'fact_words', and compared_at: 'equal forgetting' (the claim: where 20 % of what the base
-- model knows of forget is still right, between the two measured steps around the first crossing) or
-- 'equal summed gradient norm' (learning rate x gradient norm after clipping, summed to the smallest
-- final sum of a seed's three runs). vs_all, vs_random: utility (least ratio to the base model of
-- retain, general and plain text, each interpolated) of fact_words minus that of the other, mean
-- over seeds; above 0 fact words cost less; low, high: 95 % interval of spread over seeds and of
-- groups left out one by one. seeds: of the comparison with fewer; groups: of the measure with
-- fewest. p: the larger of the two one-sided; p_holm: over the m rows of a model and compared_at.
-- word: shown, not shown (only where half the interval is at most 0.05) or not enough evidence;
-- opposite: whether one interval lies below 0; reason: what excludes the row, NULL for nothing.
-- without_point: runs whose curve has no such point. common_words_facts, _all, _random: without a
-- test, mean change of the log-probability of function words in retain answers there, nats per
-- token, below 0 they became less likely; NULL where not measured. runs: ids with fact_words, by seed.
WITH chosen AS MATERIALIZED (
    SELECT shown.*, run.seed, run.spec,
        coalesce(run.spec ->> '$.settings.penalise', 'all') AS penalise,
        json_merge_patch(run.spec, '{"settings": {"penalise": null}, "seed": null}')::VARCHAR AS rest
    FROM chosen_runs($benchmark, $models::VARCHAR[], NULL::VARCHAR[]) AS shown
    JOIN run ON run.run_id = shown.run_id
    WHERE NOT is_reference(shown.method)
), trio AS MATERIALIZED (
    SELECT model, method, rest, seed, min(run_id) FILTER (penalise = 'fact_words') AS facts,
        min(run_id) FILTER (penalise = 'all') AS everything,
        min(run_id) FILTER (penalise = 'random') AS drawn
    FROM chosen GROUP BY model, method, rest, seed
    HAVING facts IS NOT NULL
), compared_to AS (
    SELECT model, method, rest, seed, facts, 'all' AS other, everything AS other_run_id FROM trio
    UNION ALL SELECT model, method, rest, seed, facts, 'random', drawn FROM trio
), member AS MATERIALIZED (
    SELECT chosen.*, trio.facts FROM trio JOIN chosen
        ON chosen.run_id IN (trio.facts, trio.everything, trio.drawn)
), item AS MATERIALIZED (  -- sums over a group
    SELECT run_id, step, measure, is_nll, "group", sum(value) AS value, sum(base_value) AS base,
        count(*) AS n
    FROM utility_items('member')
    WHERE value IS NOT NULL AND base_value IS NOT NULL
        AND (measure <> 'forget correct' OR base_value > 0)
    GROUP BY run_id, step, measure, is_nll, "group"
), total AS MATERIALIZED (
    SELECT run_id, step, measure, is_nll, sum(value) AS value, sum(base) AS base, sum(n) AS n,
        count(*) AS groups
    FROM item GROUP BY run_id, step, measure, is_nll
), forgetting AS MATERIALIZED (  -- left_out: a group, '' for none
    SELECT run_id, step, '' AS left_out, value / nullif(base, 0) AS known FROM total
    WHERE measure = 'forget correct'
    UNION ALL
    SELECT item.run_id, item.step, 'x' || item."group",
        (total.value - item.value) / nullif(total.base - item.base, 0)
    FROM item JOIN total ON total.run_id = item.run_id AND total.step = item.step
        AND total.measure = item.measure
    WHERE item.measure = 'forget correct'
), crossing AS MATERIALIZED (
    SELECT run_id, left_out, earlier AS step, step AS next_step,
        (known_before - 0.20) / (known_before - known) AS share
    FROM (
        SELECT *, lag(step) OVER curve AS earlier, lag(known) OVER curve AS known_before
        FROM forgetting WINDOW curve AS (PARTITION BY run_id, left_out ORDER BY step)
    )
    WHERE known <= 0.20 AND known_before > 0.20
    QUALIFY row_number() OVER (PARTITION BY run_id, left_out ORDER BY step) = 1
), way AS MATERIALIZED (  -- at each measured step
    SELECT point.run_id, point.step, coalesce(sum(taken.learning_rate
            * least(taken.gradient_norm, (spec ->> '$.settings.optimizer.max_gradient_norm')::DOUBLE)),
        0) AS length
    FROM (SELECT DISTINCT run_id, step FROM total) AS point
    JOIN (SELECT DISTINCT run_id, spec FROM member) AS whose ON whose.run_id = point.run_id
    LEFT JOIN step AS taken
        ON taken.run_id = point.run_id AND taken.step BETWEEN 1 AND point.step
    GROUP BY point.run_id, point.step
), shortest AS (
    SELECT facts, min(length) AS length FROM (
        SELECT facts, member.run_id, max(length) AS length
        FROM member JOIN way ON way.run_id = member.run_id GROUP BY facts, member.run_id
    ) GROUP BY facts HAVING count(*) = 3 AND min(length) > 0
), reached AS (
    SELECT run_id, earlier AS step, step AS next_step,
        (reach - length_before) / (length - length_before) AS share
    FROM (
        SELECT member.run_id, way.step, way.length, shortest.length AS reach,
            lag(way.step) OVER curve AS earlier, lag(way.length) OVER curve AS length_before
        FROM member
        JOIN shortest ON shortest.facts = member.facts
        JOIN way ON way.run_id = member.run_id
        WINDOW curve AS (PARTITION BY member.run_id ORDER BY way.step)
    )
    WHERE length >= reach AND length_before < reach
    QUALIFY row_number() OVER (PARTITION BY run_id ORDER BY step) = 1
), removal AS MATERIALIZED (  -- one group left out, of the measure that it is of; or none
    SELECT DISTINCT run_id, measure AS of_measure, "group" AS of_group FROM item
    UNION ALL SELECT DISTINCT run_id, '', '' FROM item
), point AS MATERIALIZED (
    SELECT 'equal forgetting' AS compared_at, removal.*, crossing.step, next_step, share
    FROM removal JOIN crossing ON crossing.run_id = removal.run_id AND left_out
        = if(of_measure = 'forget correct', 'x' || of_group, '')
    UNION ALL
    SELECT 'equal summed gradient norm', removal.*, reached.step, next_step, share
    FROM removal JOIN reached ON reached.run_id = removal.run_id
), kept AS (
    SELECT point.*, whole.measure, whole.step AS at_step,
        if(whole.is_nll,
            exp((whole.base - coalesce(gone.base, 0) - whole.value + coalesce(gone.value, 0))
                / nullif(whole.n - coalesce(gone.n, 0), 0)),
            (whole.value - coalesce(gone.value, 0))
                / nullif(whole.base - coalesce(gone.base, 0), 0)) AS ratio
    FROM point
    JOIN total AS whole ON whole.run_id = point.run_id AND whole.measure <> 'forget correct'
        AND whole.step IN (point.step, point.next_step)
    LEFT JOIN item AS gone ON gone.run_id = whole.run_id AND gone.step = whole.step
        AND gone.measure = whole.measure AND gone.measure = of_measure
        AND gone."group" = of_group
), utility AS MATERIALIZED (  -- at the point: the least of three ratios
    SELECT compared_at, run_id, of_measure, of_group,
        if(count(ratio) = 3, min(ratio), NULL) AS utility
    FROM (
        SELECT compared_at, run_id, of_measure, of_group, measure,
            sum(if(at_step = next_step, share, 1 - share) * ratio) AS ratio
        FROM kept GROUP BY ALL HAVING count(ratio) = 2
    ) GROUP BY compared_at, run_id, of_measure, of_group
), difference AS MATERIALIZED (
    SELECT pair.model, pair.method, pair.rest, pair.seed, pair.other, own.compared_at,
        own.of_measure, own.of_group, own.utility - other.utility AS value
    FROM compared_to AS pair
    JOIN utility AS own ON own.run_id = pair.facts
    LEFT JOIN utility AS other ON other.run_id = pair.other_run_id
        AND other.compared_at = own.compared_at AND other.of_measure = own.of_measure
        AND other.of_group = own.of_group
), of_seed AS MATERIALIZED (  -- squared error: jackknife over the groups of each measure
    SELECT model, method, rest, seed, other, compared_at,
        max(value) FILTER (of_measure = '') AS value
    FROM difference GROUP BY ALL HAVING max(value) FILTER (of_measure = '') IS NOT NULL
), stratum AS (
    SELECT model, method, rest, seed, other, compared_at, of_measure, count(*) AS groups,
        if(count(value) = count(*), (groups - 1) * var_pop(value), NULL) AS square
    FROM difference WHERE of_measure <> '' GROUP BY ALL
), within_seed AS (
    SELECT model, method, rest, seed, other, compared_at,
        if(count(square) = count(*), sum(square), NULL) AS square, min(groups) AS groups
    FROM stratum GROUP BY ALL
), combined AS MATERIALIZED (
    SELECT model, method, rest, other, compared_at, count(*) AS seeds, avg(of_seed.value) AS value,
        min(within_seed.groups) AS groups, least(min(within_seed.groups), count(*)) - 1 AS degrees,
        if(count(square) = count(*), sqrt((avg(square) + var_samp(of_seed.value)) / count(*)), NULL)
            AS error,
        if(degrees > 0, t_quantile(degrees), NULL) * error AS half
    FROM of_seed JOIN within_seed USING (model, method, rest, seed, other, compared_at)
    GROUP BY model, method, rest, other, compared_at
), common AS MATERIALIZED (  -- as task common_words has it, here at every measured step
    SELECT whose.run_id, own.step, avg(own.logprob / own.tokens - base.logprob / base.tokens) AS change
    FROM (SELECT DISTINCT run_id, base_run_id, base_step, benchmark, data_hash FROM member) AS whose
    JOIN answer_token_class AS own
        ON own.run_id = whose.run_id AND own.answer_class = 'function'
    JOIN answer_token_class AS base ON base.run_id = whose.base_run_id
        AND base.step = whose.base_step AND base.example_id = own.example_id
        AND base.answer_class = 'function'
    JOIN example ON example.benchmark = whose.benchmark AND example.data_hash = whose.data_hash
        AND example.example_id = own.example_id AND split = 'retain'
    GROUP BY whose.run_id, own.step
), common_there AS (
    SELECT point.compared_at, point.run_id,
        sum(if(common.step = next_step, share, 1 - share) * change) AS change
    FROM point JOIN common ON common.run_id = point.run_id
        AND common.step IN (point.step, next_step)
    WHERE of_measure = '' GROUP BY point.compared_at, point.run_id HAVING count(*) = 2
), common_words AS (
    SELECT model, method, rest, compared_at,
        avg(change) FILTER (penalise = 'fact_words') AS common_words_facts,
        avg(change) FILTER (penalise = 'all') AS common_words_all,
        avg(change) FILTER (penalise = 'random') AS common_words_random
    FROM member JOIN common_there ON common_there.run_id = member.run_id
    GROUP BY model, method, rest, compared_at
), cell AS (
    SELECT model, method, rest, list(facts ORDER BY seed) AS runs, count(drawn) AS with_random,
        count(everything) AS with_all
    FROM trio GROUP BY model, method, rest
), pointless AS (
    SELECT member.model, member.method, member.rest, sides.compared_at,
        count(DISTINCT member.run_id) FILTER (point.run_id IS NULL) AS without_point
    FROM member
    CROSS JOIN (VALUES ('equal forgetting'), ('equal summed gradient norm')) AS sides (compared_at)
    LEFT JOIN point ON point.run_id = member.run_id AND point.compared_at = sides.compared_at
        AND of_measure = ''
    GROUP BY member.model, member.method, member.rest, sides.compared_at
), estimated AS (
    SELECT cell.model, cell.method, cell.rest, pointless.compared_at, without_point, runs,
        every.value AS vs_all, every.value - every.half AS vs_all_low,
        every.value + every.half AS vs_all_high, drawn.value AS vs_random,
        drawn.value - drawn.half AS vs_random_low, drawn.value + drawn.half AS vs_random_high,
        every.half AS all_half, drawn.half AS random_half, every.degrees AS all_degrees,
        drawn.degrees AS random_degrees,
        least(coalesce(every.seeds, 0), coalesce(drawn.seeds, 0)) AS seeds,
        least(every.groups, drawn.groups) AS groups, common_words_facts, common_words_all,
        common_words_random,
        CASE
            WHEN with_all = 0 THEN 'no run with penalise = all'
            WHEN with_random = 0 THEN 'no run with penalise = random'
            WHEN least(coalesce(every.seeds, 0), coalesce(drawn.seeds, 0)) < 3
                THEN format('{} seeds with a point to compare at, 3 needed',
                    least(coalesce(every.seeds, 0), coalesce(drawn.seeds, 0)))
            WHEN every.error IS NULL OR drawn.error IS NULL
                THEN 'the point to compare at hangs on one group'
            WHEN least(every.groups, drawn.groups) < 8
                THEN format('{} groups, 8 needed', least(every.groups, drawn.groups))
        END AS reason
    FROM cell
    JOIN pointless ON pointless.model = cell.model AND pointless.method = cell.method
        AND pointless.rest = cell.rest
    LEFT JOIN combined AS every ON every.model = cell.model AND every.method = cell.method
        AND every.rest = cell.rest AND every.compared_at = pointless.compared_at
        AND every.other = 'all'
    LEFT JOIN combined AS drawn ON drawn.model = cell.model AND drawn.method = cell.method
        AND drawn.rest = cell.rest AND drawn.compared_at = pointless.compared_at
        AND drawn.other = 'random'
    LEFT JOIN common_words ON common_words.model = cell.model
        AND common_words.method = cell.method AND common_words.rest = cell.rest
        AND common_words.compared_at = pointless.compared_at
), tested AS MATERIALIZED (
    SELECT *, {'model': model, 'compared_at': compared_at} AS family,
        {'method': method, 'rest': rest} AS item,
        if(reason IS NULL, greatest(claim_p(vs_all, all_half, 0, all_degrees, false),
            claim_p(vs_random, random_half, 0, random_degrees, false)), NULL) AS p
    FROM estimated
)
SELECT model, method, compared_at, vs_all, vs_all_low, vs_all_high, vs_random, vs_random_low,
    vs_random_high, seeds, coalesce(groups, 0) AS groups, p, p_holm, m,
    claim_word(vs_all_low > 0 AND vs_random_low > 0,
        (vs_all_high <= 0 AND all_half <= 0.05) OR (vs_random_high <= 0 AND random_half <= 0.05),
        p_holm, reason) AS word,
    reason IS NULL AND least(vs_all_high, vs_random_high) < 0 AS opposite, reason, without_point,
    common_words_facts, common_words_all, common_words_random, runs
FROM tested JOIN holm('tested') AS adjusted
    ON adjusted.family = tested.family AND adjusted.item = tested.item
WHERE coalesce(len($methods::VARCHAR[]), 0) = 0 OR list_contains($methods::VARCHAR[], method)
ORDER BY model, method, compared_at, runs
