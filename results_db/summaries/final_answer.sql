-- What a run answers to one plain prompt on its final weights, and what became of it.
-- run_id: The run.
-- example_id: The example, of the benchmark of the run.
-- text: What the model said.
-- correct: Whether it counts as correct by the rule of the benchmark.
-- rouge_l_recall: ROUGE-L recall against the gold answer, in [0, 1].
-- logprob: Log-probability of the gold answer, nats per token, at most 0.
-- base_correct: Whether the base model's answer is correct; NULL where it was not asked.
-- recovered: Whether the base model knew it, this answer is wrong, and one under any emphasis is correct.
WITH emphasised AS (
    SELECT DISTINCT run_id, example_id FROM affected_attempt
    WHERE arm = 'treatment' AND correct
)
SELECT answer.run_id, answer.example_id, answer.text, answer.correct, answer.rouge_l_recall,
    answer.logprob, base_answer.correct AS base_correct,
    coalesce(base_answer.correct AND NOT answer.correct AND emphasised.run_id IS NOT NULL, false)
        AS recovered
FROM affected
JOIN answer ON answer.run_id = affected.run_id AND answer.step = affected.final_step
LEFT JOIN answer AS base_answer ON base_answer.run_id = affected.base_run_id
    AND base_answer.step = affected.base_step AND base_answer.example_id = answer.example_id
LEFT JOIN emphasised ON emphasised.run_id = answer.run_id
    AND emphasised.example_id = answer.example_id
