-- What does this file hold?
-- Takes no parameters.
-- One row. benchmarks, models, methods: sorted names of complete runs. complete, failed: runs.
-- pending: planned runs without a result. examples, token_scores: stored rows.
SELECT coalesce(list_sort(list(DISTINCT benchmark)), []) AS benchmarks,
    coalesce(list_sort(list(DISTINCT model)), []) AS models,
    coalesce(list_sort(list(DISTINCT method)), []) AS methods,
    count(*) AS complete,
    (SELECT count(*) FROM run WHERE status = 'failed') AS failed,
    (SELECT count(DISTINCT run_id) FROM planned_run ANTI JOIN run USING (run_id)) AS pending,
    (SELECT count(*) FROM example) AS examples,
    (SELECT coalesce(sum(tokens), 0)::BIGINT FROM token_count) AS token_scores
FROM run WHERE status = 'complete'
