-- How did the answers of one run to one prompt change along the way?
-- $run_id      VARCHAR  the run
-- $example_id  VARCHAR  the example
-- One row per measured step. axis: what the run is measured along, step or alpha, and axis_value
-- the value on it. text, correct, rouge_l_recall: the greedy answer to the plain prompt. logprob: of
-- the gold answer, nats per token.
SELECT step, axis, axis_value, is_final, text, correct, rouge_l_recall, logprob
FROM answer JOIN checkpoint USING (run_id, step)
WHERE run_id = $run_id AND example_id = $example_id
ORDER BY step
