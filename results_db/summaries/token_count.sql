-- How many token scores a run has.
-- run_id: The run.
-- tokens: Rows of token_score, a count.
SELECT attribution.run_id, sum(len(token_ids))::BIGINT AS tokens
FROM attribution JOIN affected ON affected.run_id = attribution.run_id
GROUP BY attribution.run_id
