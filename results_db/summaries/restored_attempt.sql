-- An attributed emphasised prompt on the final weights of a run, and whether its answer came back.
-- run_id: The run.
-- example_id: The example, of the benchmark of the run.
-- strategy: The recovery strategy; arm treatment, draw 0.
-- group: Group of the example.
-- correct: Whether the emphasised answer is correct; NULL where it was not asked.
-- base_on_keys: Plain prompt, base model: see emphasised_focus.
-- base_on_question: Plain prompt, base model, all tokens but the template.
-- plain_on_keys: Plain prompt, the run.
-- plain_on_question: Plain prompt, the run, all tokens but the template.
-- on_keys: Emphasised prompt, the run.
-- on_question: Emphasised prompt, the run, all tokens but the template.
SELECT affected.run_id, found.example_id, found.strategy, example."group", tried.correct,
    base_on_keys, base_on_question, plain_on_keys, plain_on_question, on_keys, on_question
FROM affected
JOIN emphasised_focus AS found
    ON found.run_id = affected.run_id AND found.step = affected.final_step
JOIN recovery AS tried ON tried.run_id = found.run_id AND tried.step = found.step
    AND tried.example_id = found.example_id AND tried.strategy = found.strategy
    AND tried.arm = 'treatment' AND tried.draw = 0
JOIN example ON example.benchmark = affected.benchmark AND example.data_hash = affected.data_hash
    AND example.example_id = found.example_id
