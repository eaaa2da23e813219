-- Which tokens of the answers does each loss push, and which became less likely?
-- $benchmark  VARCHAR    name of the benchmark
-- $models     VARCHAR[]  models to show; empty means all
-- $methods    VARCHAR[]  unlearning methods to show; empty means all
-- One row per complete run, measured step and class of answer token. penalise: which tokens of the
-- forget answers carry the loss, 'all' or 'fact_words'. share: of the summed L2 norms of the loss's
-- gradient by the logits (RMU: by the steered activation) over all tokens of the forget answers
-- that were looked at (of the forget documents, where those are unlearned), in [0, 1]; NULL where
-- the loss does not read them: reason says why, of the whole run. pushed: 'documents' or 'answers',
-- whose tokens these are. token_share: of the tokens of these, in [0, 1]: what the share would be if
-- all were pushed alike; tokens: how many. change_forget, change_retain,
-- change_general: mean over the tokens of the class of log p now minus log p on the base model,
-- nats per token, below 0 less likely; NULL where the split has no such token.
WITH chosen AS MATERIALIZED (
    SELECT chosen.*, run.seed, run.spec
    FROM chosen_runs($benchmark, $models::VARCHAR[], $methods::VARCHAR[]) AS chosen
    JOIN run ON run.run_id = chosen.run_id
), documents AS (
    SELECT own.run_id, own.step, own.answer_class, sum(own.tokens) AS tokens,
        sum(own.gradient) AS gradient
    FROM chosen JOIN text_token_class AS own ON own.run_id = chosen.run_id
    GROUP BY own.run_id, own.step, own.answer_class
), classes AS (
    SELECT run_id, step, answer_class, change_forget, change_retain, change_general,
        documents.run_id IS NOT NULL AS is_document,
        bool_or(is_document) OVER (PARTITION BY run_id, step) AS of_documents,
        if(of_documents, documents.gradient, answers.gradient) AS gradient,
        if(of_documents, documents.tokens, answers.tokens) AS tokens
    FROM (
        FROM answer_class_step SEMI JOIN chosen ON chosen.run_id = answer_class_step.run_id
    ) AS answers
    FULL JOIN documents USING (run_id, step, answer_class)
)
SELECT chosen.run_id, chosen.model, chosen.method,
    coalesce(chosen.spec ->> '$.settings.penalise', 'all') AS penalise,
    classes.step, axis, axis_value, is_final, answer_class,
    gradient / nullif(sum(gradient) OVER of_step, 0) AS share,
    tokens / sum(tokens) OVER of_step AS token_share, tokens::BIGINT AS tokens,
    change_forget, change_retain, change_general,
    if(of_documents, 'documents', 'answers') AS pushed, why.reason
FROM chosen
JOIN classes ON classes.run_id = chosen.run_id
JOIN checkpoint ON checkpoint.run_id = classes.run_id AND checkpoint.step = classes.step
LEFT JOIN statistic AS why ON why.run_id = chosen.run_id AND why.name = 'pushed_texts'
WINDOW of_step AS (PARTITION BY chosen.run_id, classes.step)
ORDER BY chosen.model, chosen.method, chosen.run_id, classes.step, answer_class
