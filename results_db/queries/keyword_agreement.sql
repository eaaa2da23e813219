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
WITH word_token AS (
    SELECT base.run_id, token_score.method AS attribution_method, example_id, position, is_key,
        token_class = 'keyword' AS is_planted,
        regexp_matches(token, '^\s') OR lag(position) OVER prompt IS DISTINCT FROM position - 1
            AS begins
    FROM chosen_runs($benchmark, $models::VARCHAR[], ['none']) AS base
    JOIN token_score ON token_score.run_id = base.run_id AND token_score.step = base.final_step
    WHERE target = 'gold' AND answer_tokens = $answer_tokens AND is_key IS NOT NULL
        AND token_class NOT IN ('template', 'punctuation')
    WINDOW prompt AS (
        PARTITION BY base.run_id, token_score.method, example_id ORDER BY position)
), numbered AS (
    SELECT *, sum(begins::INTEGER) OVER (
        PARTITION BY run_id, attribution_method, example_id ORDER BY position) AS word
    FROM word_token
), word AS (
    SELECT run_id, attribution_method, example_id, word, bool_or(is_key) AS is_found,
        bool_or(is_planted) AS is_planted
    FROM numbered GROUP BY ALL
), prompt AS (
    SELECT run_id, attribution_method, example_id, count(*) FILTER (is_found) AS found,
        count(*) FILTER (is_planted) AS planted,
        count(*) FILTER (is_found AND is_planted) AS hits, found * planted / count(*) AS by_chance
    FROM word GROUP BY ALL HAVING planted > 0
), item AS (
    SELECT {'run_id': prompt.run_id, 'attribution_method': attribution_method,
            'split': example.split, 'measure': measure} AS cell,
        'rate' AS kind, "group", hits AS value, if(measure = 'precision', found, planted) AS weight,
        by_chance
    FROM prompt
    JOIN run ON run.run_id = prompt.run_id
    JOIN example ON example.benchmark = run.benchmark AND example.example_id = prompt.example_id
    CROSS JOIN (VALUES ('precision'), ('recall')) AS measures (measure)
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
