-- What does each run answer to one plain prompt?
-- $benchmark   VARCHAR    name of the benchmark
-- $models      VARCHAR[]  models to show; empty means all
-- $example_id  VARCHAR    the example
-- One row per complete run, on the final weights. logprob: of the gold answer, nats per token.
-- rouge_l_recall: against the gold answer, in [0, 1].
SELECT chosen.run_id, chosen.model, chosen.method, text, correct, logprob, rouge_l_recall
FROM chosen_runs($benchmark, $models::VARCHAR[], NULL::VARCHAR[]) AS chosen
JOIN final_answer ON final_answer.run_id = chosen.run_id
WHERE example_id = $example_id
ORDER BY chosen.model, chosen.method, chosen.run_id
