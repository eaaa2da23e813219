-- What a run's loss pushes and what became less likely, by class of token of the gold answers, at a measured step.
-- run_id: The run.
-- step: The measured step.
-- answer_class: Class of the answer tokens, see answer_token_class.
-- gradient: Sum over the forget answers of the L2 norms of the gradient, 0 or more; NULL where the loss does not read them.
-- tokens: Tokens of this class in the forget answers, a count; NULL without any.
-- change_forget: Mean over these tokens of log p now minus log p on the base model, nats per token, below 0 less likely; NULL where the base model was not measured.
-- change_retain: The same over the retain answers.
-- change_general: The same over the general answers.
WITH summed AS (
    SELECT affected.run_id, own.step, own.answer_class, example.split,
        sum(own.tokens) AS tokens, sum(own.gradient) AS gradient,
        sum(own.logprob - base.logprob) / sum(own.tokens) AS change
    FROM affected
    JOIN answer_token_class AS own ON own.run_id = affected.run_id
    JOIN example ON example.benchmark = affected.benchmark
        AND example.data_hash = affected.data_hash AND example.example_id = own.example_id
    LEFT JOIN answer_token_class AS base ON base.run_id = affected.base_run_id
        AND base.step = affected.base_step AND base.example_id = own.example_id
        AND base.answer_class = own.answer_class
    GROUP BY affected.run_id, own.step, own.answer_class, example.split
)
SELECT run_id, step, answer_class,
    any_value(gradient) FILTER (split = 'forget') AS gradient,
    any_value(tokens) FILTER (split = 'forget')::BIGINT AS tokens,
    any_value(change) FILTER (split = 'forget') AS change_forget,
    any_value(change) FILTER (split = 'retain') AS change_retain,
    any_value(change) FILTER (split = 'general') AS change_general
FROM summed GROUP BY run_id, step, answer_class
