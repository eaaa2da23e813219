-- A metric that is not a mean over examples, on the final weights of a run.
-- run_id: The run.
-- name: auc_ or privleak_ and an attack, forget_quality_ or model_utility_ and whose definition (ou, without_end), knowmem_forget, knowmem_retain, verbmem_forget of MUSE, or memorization_, privacy_, utility_, score_ of open-unlearning's ranking; see docs/metrics.md.
-- value: AUC in [0, 1], PrivLeak in percent, p in [0, 1], a harmonic mean in [0, 1], or a mean of ROUGE-L F1 in [0, 1]; NULL without one.
-- n: Examples, or parts of model utility, that it is over, a count.
-- reason: Why there is no value; NULL where there is one.
WITH membership AS (
    SELECT run_id, attack, n, auc, 1 - auc AS missed FROM membership_auc('affected_score')
), attacks AS (
    SELECT unnest(['min_k', 'min_k_plus_plus_sd_1e6', 'loss_ou', 'zlib_ou', 'min_k_ou',
        'min_k_plus_plus_ou', 'gradnorm_ou', 'reference_ou']) AS attack,
        unnest(['min_k', 'min_k_plus_plus', 'membership', 'membership', 'membership', 'membership',
        'membership', 'membership']) AS task
), no_model AS (
    SELECT run_id, benchmark, never_run_id, CASE never_knew
        WHEN 'absent' THEN 'no retain model in the file'
        WHEN 'itself' THEN 'this is the retain model' END AS reason
    FROM affected
), measured AS (
    SELECT DISTINCT run_id, task FROM affected_item
), definition AS (
    SELECT unnest(['ou', 'without_end']) AS whose,
        unnest(['truth_ratio_ou', 'ratio']) AS ratio,
        unnest(['open_unlearning', 'truth_ratio_without_end']) AS task
), pooled AS (
    SELECT no_model.run_id, whose, unnest([
        {'value': own.stored, 'side': 1}, {'value': never.stored, 'side': -1}
    ]) AS one
    FROM no_model
    JOIN affected_item AS own ON own.run_id = no_model.run_id
    JOIN definition ON definition.task = own.task AND definition.ratio = own.metric
    JOIN affected_item AS never ON never.run_id = no_model.never_run_id
        AND never.example_id = own.example_id AND never.task = own.task
        AND never.metric = own.metric
    WHERE own.split = 'forget' AND own.stored IS NOT NULL AND never.stored IS NOT NULL
), gap AS (
    SELECT run_id, whose, sum(one.side) OVER (PARTITION BY run_id, whose ORDER BY one.value
        RANGE UNBOUNDED PRECEDING) AS apart
    FROM pooled
), quality AS (
    SELECT run_id, whose, (count(*) // 2)::BIGINT AS n, max(abs(apart))::BIGINT AS h
    FROM gap GROUP BY run_id, whose
), part AS (
    SELECT run_id, whose, if(split = 'general', attribute, 'retain') AS kind, affected_item.task,
        metric,
        if(count(*) = count(value) OR (whose <> 'ou' AND metric <> 'rouge_l_recall'), avg(value), NULL)
            AS value
    FROM affected_item CROSS JOIN (SELECT DISTINCT whose FROM definition) AS definitions
    WHERE split IN ('retain', 'general') AND (
        metric = 'rouge_l_recall'
        OR (whose = 'ou' AND (metric = 'truth_ratio_ou'
            OR (split = 'retain' AND metric = 'probability_ou')
            OR (split = 'general' AND metric = 'probability_w_options_ou')))
        OR (whose = 'without_end' AND (task = 'truth_ratio_without_end'
            OR (split = 'retain' AND metric = 'probability_without_end')
            OR (split = 'general' AND (task, metric) = ('multiple_choice', 'share')))))
    GROUP BY run_id, whose, kind, affected_item.task, metric
), parts AS (
    SELECT run_id, whose, count(value) AS n, 3 * count(DISTINCT kind) AS wanted,
        if(min(value) <= 0, 0, count(value) / sum(1 / value) FILTER (value > 0)) AS value
    FROM part GROUP BY run_id, whose
), muse AS (
    SELECT run_id, if(attribute = 'verbmem', 'verbmem_', 'knowmem_') || split AS name, avg(value) AS value,
        count(value) AS n, count(*) - count(value) AS missing, mode(reason) AS reason
    FROM affected_item WHERE metric = 'rouge_l_f1' AND split IN ('forget', 'retain')
    GROUP BY ALL
), known AS (
    SELECT run_id, task, metric, if(count(*) = count(value), avg(value), NULL) AS value
    FROM affected_item WHERE split = 'forget' GROUP BY run_id, task, metric
), memorized AS (
    SELECT unnest(['', '_paraphrased_question']) AS variant, unnest([
        [
            {'task': 'open_unlearning', 'metric': 'extraction_strength_ou'},
            {'task': 'exact_memorization', 'metric': 'fraction'},
            {'task': 'paraphrases', 'metric': 'probability_paraphrased_answer_ou'},
            {'task': 'open_unlearning', 'metric': 'truth_ratio_ou_prob_mean'}
        ],
        [{'task': 'paraphrases', 'metric': metric || '_paraphrased_question'} FOR metric IN [
            'extraction_strength_ou', 'exact_memorization', 'probability_paraphrased_answer_ou',
            'truth_ratio_ou_prob_mean']]
    ]) AS measures
), ranked AS MATERIALIZED (
    SELECT affected.run_id, base_run_id, never_run_id, never_knew
    FROM affected JOIN measured ON measured.run_id = affected.run_id
    WHERE measured.task = 'open_unlearning' AND affected.benchmark = 'tofu'
), score_part AS MATERIALIZED (
    SELECT ranked.run_id, 'memorization_ou_paper' || variant AS name,
        wanted.task || ' ' || wanted.metric AS part, 1 - known.value AS value
    FROM ranked
    CROSS JOIN (SELECT variant, unnest(measures) AS wanted FROM memorized) AS memorized
    LEFT JOIN known ON known.run_id = ranked.run_id AND known.task = wanted.task
        AND known.metric = wanted.metric
    UNION ALL
    SELECT ranked.run_id, 'privacy_ou_paper', 'auc_' || attacks.attack,
        CASE WHEN never_knew = 'itself' THEN if(own.auc IS NULL, NULL, 1)
            WHEN own.auc IS NULL OR never.auc IS NULL OR never.auc = 0 THEN NULL
            ELSE greatest(0, 1 - abs(own.auc - never.auc) / never.auc) END
    FROM ranked JOIN attacks
        ON attacks.attack IN ('loss_ou', 'zlib_ou', 'min_k_ou', 'min_k_plus_plus_ou')
    LEFT JOIN membership AS own
        ON own.run_id = ranked.run_id AND own.attack = attacks.attack
    LEFT JOIN membership AS never
        ON never.run_id = ranked.never_run_id AND never.attack = attacks.attack
    UNION ALL
    SELECT ranked.run_id, utility.name, 'model_utility_ou',
        if(own.n = own.wanted AND base.n = base.wanted AND base.value > 0,
            least(1, own.value / base.value), NULL)
    FROM ranked
    CROSS JOIN (VALUES ('utility_ou_paper'), ('utility_own_fluency')) AS utility (name)
    LEFT JOIN parts AS own ON own.run_id = ranked.run_id AND own.whose = 'ou'
    LEFT JOIN parts AS base ON base.run_id = ranked.base_run_id AND base.whose = 'ou'
    UNION ALL
    SELECT ranked.run_id, utility.name, utility.metric,
        if(own.value IS NOT NULL AND base.value > 0, least(1, own.value / base.value), NULL)
    FROM ranked
    CROSS JOIN (VALUES ('utility_ou_paper', 'clean_probability_ou'),
        ('utility_own_fluency', 'fluency_own')) AS utility (name, metric)
    LEFT JOIN known AS own ON own.run_id = ranked.run_id AND own.metric = utility.metric
    LEFT JOIN known AS base ON base.run_id = ranked.base_run_id AND base.metric = utility.metric
), score AS MATERIALIZED (
    SELECT run_id, name, count(value) AS n,
        CASE WHEN count(value) < count(*) THEN NULL WHEN min(value) <= 0 THEN 0
            ELSE count(value) / sum(1 / value) FILTER (value > 0) END AS value,
        string_agg(part, ', ' ORDER BY part) FILTER (value IS NULL) AS missing
    FROM score_part GROUP BY run_id, name
), whole_score AS (
    SELECT run_id, whole.name, count(value) AS n,
        CASE WHEN count(value) < 3 THEN NULL WHEN min(value) <= 0 THEN 0
            ELSE 3 / sum(1 / value) FILTER (value > 0) END AS value,
        string_agg(score.name, ', ' ORDER BY score.name) FILTER (value IS NULL) AS missing
    FROM score JOIN (VALUES
        ('score_ou_paper', 'memorization_ou_paper', 'utility_ou_paper'),
        ('score_ou_paper_paraphrased_question', 'memorization_ou_paper_paraphrased_question',
            'utility_ou_paper'),
        ('score_own_fluency', 'memorization_ou_paper', 'utility_own_fluency')
    ) AS whole (name, memorization, utility)
        ON score.name IN (whole.memorization, whole.utility, 'privacy_ou_paper')
    GROUP BY run_id, whole.name
)
SELECT affected.run_id, 'auc_' || attacks.attack AS name, auc AS value, coalesce(n, 0) AS n,
    CASE
        WHEN auc IS NOT NULL THEN NULL
        WHEN measured.task IS NULL THEN format('task {} was not run', attacks.task)
        WHEN attacks.attack = 'reference_ou' AND never_knew = 'itself' THEN 'this is the retain model'
        WHEN attacks.attack = 'reference_ou' AND never_knew = 'absent'
            THEN 'no retain model in the file'
        ELSE 'forget or holdout has no value'
    END AS reason
FROM affected CROSS JOIN attacks
LEFT JOIN measured ON measured.run_id = affected.run_id AND measured.task = attacks.task
LEFT JOIN membership
    ON membership.run_id = affected.run_id AND membership.attack = attacks.attack
UNION ALL
SELECT no_model.run_id, 'privleak_' || attacks.attack,
    100 * (own.missed - never.missed) / nullif(never.missed, 0), coalesce(own.n, 0),
    CASE
        WHEN reason IS NOT NULL THEN reason
        WHEN own.missed IS NULL OR never.missed IS NULL THEN 'no AUC of this or of the retain model'
        WHEN never.missed = 0 THEN 'the AUC of the retain model is 1'
    END
FROM no_model CROSS JOIN attacks
LEFT JOIN membership AS own ON own.run_id = no_model.run_id AND own.attack = attacks.attack
LEFT JOIN membership AS never
    ON never.run_id = no_model.never_run_id AND never.attack = attacks.attack
WHERE attacks.attack <> 'reference_ou'
UNION ALL
SELECT no_model.run_id, 'forget_quality_' || definition.whose, smirnov_p(n, h), coalesce(n, 0),
    coalesce(reason, if(n IS NULL, 'no truth ratio of this and of the retain model', NULL))
FROM no_model CROSS JOIN definition
LEFT JOIN quality ON quality.run_id = no_model.run_id AND quality.whose = definition.whose
UNION ALL
SELECT affected.run_id, 'model_utility_' || definition.whose, if(n = wanted, value, NULL),
    coalesce(n, 0),
    CASE WHEN n = wanted THEN NULL ELSE format('{} of {} parts were measured on every question',
        coalesce(n, 0), coalesce(wanted::VARCHAR, 'its')) END
FROM affected CROSS JOIN definition
LEFT JOIN parts ON parts.run_id = affected.run_id AND parts.whose = definition.whose
UNION ALL
SELECT affected.run_id, muse.name, if(missing = 0, value, NULL), n,
    if(missing = 0, NULL, format('{} of {} answers have none: {}', missing, n + missing, reason))
FROM affected JOIN muse ON muse.run_id = affected.run_id
WHERE affected.benchmark LIKE 'muse-%'
UNION ALL
SELECT run_id, 'verbmem_forget', NULL, 0, 'facts of the world have no texts that a model never saw'
FROM affected WHERE benchmark = 'world-facts'
UNION ALL
SELECT run_id, name, value, n, 'without a value: ' || missing
FROM (FROM score UNION ALL FROM whole_score)
