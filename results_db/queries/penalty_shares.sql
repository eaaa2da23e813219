-- Which tokens of the answers does each loss push, and which became less likely?
-- $benchmark  VARCHAR    name of the benchmark
-- $models     VARCHAR[]  models to show; empty means all
-- $methods    VARCHAR[]  unlearning methods to show; empty means all
-- One row per complete run, measured step and class of answer token. penalise: which tokens of the
-- forget answers carry the loss, 'all' or 'fact_words'. share: of the summed L2 norms of the loss's
-- gradient by the logits (RMU: by the steered activation) over all tokens of the forget answers, in
-- [0, 1]; NULL where the loss does not read them. token_share: of the tokens of these answers, in
-- [0, 1]: what the share would be if all were pushed alike. change_forget, change_retain,
-- change_general: mean over the tokens of the class of log p now minus log p on the base model,
-- nats per token, below 0 less likely; NULL where the split has no such token.
WITH chosen AS MATERIALIZED (
    SELECT chosen.*, run.seed, run.spec
    FROM chosen_runs($benchmark, $models::VARCHAR[], $methods::VARCHAR[]) AS chosen
    JOIN run ON run.run_id = chosen.run_id
)
SELECT chosen.run_id, chosen.model, chosen.method,
    coalesce(chosen.spec ->> '$.settings.penalise', 'all') AS penalise,
    classes.step, axis, axis_value, is_final, answer_class,
    gradient / nullif(sum(gradient) OVER of_step, 0) AS share,
    tokens / sum(tokens) OVER of_step AS token_share, change_forget, change_retain, change_general
FROM chosen
JOIN answer_class_step AS classes ON classes.run_id = chosen.run_id
JOIN checkpoint ON checkpoint.run_id = classes.run_id AND checkpoint.step = classes.step
WINDOW of_step AS (PARTITION BY chosen.run_id, classes.step)
ORDER BY chosen.model, chosen.method, chosen.run_id, classes.step, answer_class
