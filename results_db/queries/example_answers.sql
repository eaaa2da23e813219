-- What does each run answer to one plain prompt?
-- $benchmark   VARCHAR    name of the benchmark
-- $models      VARCHAR[]  models to show; empty means all
-- $example_id  VARCHAR    the example
-- $step        INTEGER    of each run the last measured step up to this one; NULL: its final one
-- One row per complete run. step: the measured step. logprob: of the gold answer, nats per token.
-- rouge_l_recall: against the gold answer, in [0, 1].
SELECT chosen.run_id, chosen.model, chosen.method, chosen.step, text, correct, logprob,
    rouge_l_recall
FROM chosen_at($benchmark, $models::VARCHAR[], NULL::VARCHAR[], $step::INTEGER) AS chosen
JOIN answer ON answer.run_id = chosen.run_id AND answer.step = chosen.step
WHERE example_id = $example_id
ORDER BY chosen.model, chosen.method, chosen.run_id
