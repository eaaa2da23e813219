-- Words of one prompt that are KeyTokens on a base model, and those that are planted keywords; punctuation and template left out. A word that stands there twice counts twice.
-- run_id: The base run.
-- method: Name of the attribution method.
-- answer_tokens: Which tokens of the gold answer: all or novel.
-- example_id: The example, of the benchmark of the run.
-- split: Split of the example.
-- group: Group of the example.
-- words: Words of the prompt, a count.
-- found: Words of which a token is a KeyToken, a count.
-- planted: Words that are keywords of the benchmark, a count, at least 1.
-- hits: Words that are both, a count.
WITH word_token AS (
    SELECT affected.run_id, affected.benchmark, affected.data_hash, token_score.method, answer_tokens, example_id,
        position, is_key, token_class = 'keyword' AS is_planted,
        regexp_matches(token, '^\s') OR lag(position) OVER prompt IS DISTINCT FROM position - 1
            AS begins
    FROM affected
    JOIN token_scores() AS token_score
        ON token_score.run_id = affected.run_id AND token_score.step = affected.final_step
    WHERE affected.method = 'none' AND target = 'gold' AND is_key IS NOT NULL
        AND token_class NOT IN ('template', 'punctuation')
    WINDOW prompt AS (
        PARTITION BY affected.run_id, token_score.method, answer_tokens, example_id
        ORDER BY position)
), numbered AS (
    SELECT *, sum(begins::INTEGER) OVER (
        PARTITION BY run_id, method, answer_tokens, example_id ORDER BY position) AS word
    FROM word_token
), word AS (
    SELECT run_id, benchmark, data_hash, method, answer_tokens, example_id, word,
        bool_or(is_key) AS is_found, bool_or(is_planted) AS is_planted
    FROM numbered GROUP BY ALL
)
SELECT word.run_id, method, answer_tokens, word.example_id, split, "group", count(*) AS words,
    count(*) FILTER (is_found) AS found, count(*) FILTER (is_planted) AS planted,
    count(*) FILTER (is_found AND is_planted) AS hits
FROM word
JOIN example ON example.benchmark = word.benchmark AND example.data_hash = word.data_hash
    AND example.example_id = word.example_id
GROUP BY ALL HAVING planted > 0
ORDER BY word.run_id, method, answer_tokens, word.example_id
