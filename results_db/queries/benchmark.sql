-- What does a benchmark ask, and when is an answer right?
-- $benchmark  VARCHAR  name of the benchmark
-- One row per rule of correctness (contains_fact, fact_words, multiple_choice; see the column's
-- comment in schema.sql). n: questions under it. options: answers to choose from, the most that a
-- question has; guess_rate: 1 / options, a fraction; both NULL where the answer is free text.
-- forget, retain, general: questions of that split, counts; forget_judged and so on: those of which
-- the rule can say whether an answer is correct. The others are in no figure of the rule.
SELECT correct_rule, count(*) AS n,
    max(1 + len(wrong_answers)) FILTER (correct_rule = 'multiple_choice') AS options,
    1 / options AS guess_rate,
    count(*) FILTER (split = 'forget') AS forget,
    count(*) FILTER (split = 'forget' AND len(facts) > 0) AS forget_judged,
    count(*) FILTER (split = 'retain') AS retain,
    count(*) FILTER (split = 'retain' AND len(facts) > 0) AS retain_judged,
    count(*) FILTER (split = 'general') AS general,
    count(*) FILTER (split = 'general' AND len(facts) > 0) AS general_judged
FROM example
WHERE benchmark = $benchmark AND data_hash = shown_data($benchmark) AND form = 'question'
GROUP BY correct_rule
ORDER BY n DESC, correct_rule
