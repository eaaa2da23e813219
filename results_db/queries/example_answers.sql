-- What does each run answer to one plain prompt?
-- $benchmark   VARCHAR    name of the benchmark
-- $models      VARCHAR[]  models to show; empty means all
-- $example_id  VARCHAR    the example
-- $step        INTEGER    of each run the last measured step up to this one; NULL: its final one
-- One row per complete run. step: the measured step. logprob: of the gold answer, nats per token.
-- rouge_l_recall: against the gold answer, in [0, 1].
WITH chosen AS MATERIALIZED (
    FROM chosen_at($benchmark, $models::VARCHAR[], NULL::VARCHAR[], $step::INTEGER)
), found AS (
    SELECT run_id, text, correct, logprob, rouge_l_recall
    FROM final_answer WHERE $step IS NULL AND example_id = $example_id
    UNION ALL
    SELECT answer.run_id, text, correct, logprob, rouge_l_recall
    FROM answer JOIN chosen ON chosen.run_id = answer.run_id AND chosen.step = answer.step
    WHERE $step IS NOT NULL AND example_id = $example_id
)
SELECT chosen.run_id, chosen.model, chosen.method, chosen.step, text, correct, logprob,
    rouge_l_recall
FROM chosen JOIN found ON found.run_id = chosen.run_id
ORDER BY chosen.model, chosen.method, chosen.run_id
