-- What can each run still do, beside its base model?
-- $benchmark  VARCHAR    name of the benchmark
-- $models     VARCHAR[]  models to show; empty means all
-- $methods    VARCHAR[]  unlearning methods to show; empty means all
-- $step       INTEGER    of each run the last measured step up to this one; NULL: its final one
-- One row per complete run and measure. step: the measured step. measure: 'forget correct', 'retain
-- correct', 'general correct' (fraction of the questions of the split that the rule judges, in [0, 1]) or 'plain-text
-- perplexity' (exp of the mean negative log-likelihood per token, 1 or more, lower is better). low,
-- high: 95 % interval robust to groups. base_value: the base model's, over the same examples. ratio:
-- run to base (of perplexity, base to run), paired by example, 1 is as good as the base; NULL where
-- the base model has nothing right. guess_rate: mean share of wrong values that the answers would
-- pass for; NULL for perplexity. questions: of the split in the data, those that the rule cannot
-- judge too, a count; NULL for perplexity.
WITH counted AS (
    SELECT split || ' correct' AS measure, count(*) AS questions FROM example
    WHERE benchmark = $benchmark AND data_hash = shown_data($benchmark) AND form = 'question'
    GROUP BY split
)
SELECT chosen.run_id, chosen.model, chosen.method, chosen.step, measure, value, low, high, n, groups,
    base_value, ratio, guess_rate, counted.questions
FROM chosen_at($benchmark, $models::VARCHAR[], $methods::VARCHAR[], $step::INTEGER) AS chosen
JOIN utility_measure AS found ON found.run_id = chosen.run_id AND found.step = chosen.step
LEFT JOIN counted USING (measure)
ORDER BY chosen.model, chosen.method, chosen.run_id, place NULLS LAST
