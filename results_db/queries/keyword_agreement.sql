-- Do KeyTokens find the words that were planted?
-- $benchmark      VARCHAR    name of the benchmark
-- $models         VARCHAR[]  models to show; empty means all
-- $answer_tokens  VARCHAR    which tokens of the gold answer: 'all' or 'novel'
-- One row per complete base run, attribution method, split and measure. A word of the prompt
-- counts as found if one of its tokens is a KeyToken, as planted if it is a keyword of the
-- benchmark; a word that stands there twice counts twice. precision: planted words among those
-- found; recall: found words among those planted; fractions in [0, 1], summed over n prompts that
-- have keywords and defined KeyTokens, with a 95 % interval robust to groups. chance: the same for
-- as many words of the same prompts, drawn at random.
WITH item AS (
    SELECT {'run_id': counted.run_id, 'attribution_method': counted.method, 'split': split,
            'measure': measure} AS cell,
        'rate' AS kind, "group", hits AS value, if(measure = 'precision', found, planted) AS weight,
        found * planted / words AS by_chance
    FROM chosen_runs($benchmark, $models::VARCHAR[], ['none']) AS base
    JOIN keyword_count AS counted ON counted.run_id = base.run_id
    CROSS JOIN (VALUES ('precision'), ('recall')) AS measures (measure)
    WHERE answer_tokens = $answer_tokens
), chance AS (
    SELECT cell, sum(by_chance) / nullif(sum(weight), 0) AS chance FROM item GROUP BY cell
)
SELECT run.run_id, run.model, found.cell.attribution_method AS attribution_method,
    found.cell.split AS split, found.cell.measure AS measure, found.estimate, found.low, found.high,
    chance.chance, found.n, found.groups
FROM estimates('item') AS found
JOIN chance ON chance.cell = found.cell
JOIN run ON run.run_id = found.cell.run_id
ORDER BY run.model, run.run_id, attribution_method, split, measure
