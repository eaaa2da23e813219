-- What is wrong with this file?
-- One row per kind of problem and run. problem: one sentence.
WITH finished AS (
    SELECT run.*, final.step AS final_step
    FROM run LEFT JOIN checkpoint AS final ON final.run_id = run.run_id AND final.is_final
    WHERE run.status = 'complete'
), asked AS (
    SELECT finished.run_id, finished.base_run_id, count(answer.example_id) AS answers
    FROM finished
    LEFT JOIN answer ON answer.run_id = finished.run_id AND answer.step = finished.final_step
    GROUP BY ALL
), problem AS (
    SELECT 'build' AS place, run_id, format('run {}: its build {} is not in the file', run_id, build_id)
        AS problem
    FROM run ANTI JOIN build USING (build_id)
    UNION ALL
    SELECT 'progress', run_id, format('progress: run {}, which no study asks for', run_id)
    FROM progress ANTI JOIN planned_run USING (run_id)
    UNION ALL
    SELECT 'base', run_id,
        format('run {}: its base run {} is not complete in the file', run_id, base_run_id)
    FROM finished WHERE base_run_id NOT IN (SELECT run_id FROM finished)
    UNION ALL
    SELECT 'retain', run_id,
        format('run {}: its retain run {} is not complete in the file', run_id, retain_run_id)
    FROM finished WHERE retain_run_id NOT IN (SELECT run_id FROM finished)
    UNION ALL
    SELECT 'sham', run_id,
        format('run {}: its sham run {} is not complete in the file', run_id, sham_run_id)
    FROM finished WHERE sham_run_id NOT IN (SELECT run_id FROM finished)
    UNION ALL
    SELECT 'final', run_id, format('run {}: {} final checkpoints, not one', run_id,
        count(checkpoint.step) FILTER (is_final))
    FROM run LEFT JOIN checkpoint USING (run_id) WHERE status = 'complete'
    GROUP BY run_id HAVING count(checkpoint.step) FILTER (is_final) <> 1
    UNION ALL
    SELECT 'start', run_id, format('run {}: step 0 was not measured', run_id)
    FROM finished WHERE run_id NOT IN (SELECT run_id FROM checkpoint WHERE step = 0)
    UNION ALL
    SELECT 'answers', asked.run_id,
        format('run {}: {} final answers, its base run has {}', asked.run_id,
        asked.answers, base.answers)
    FROM asked JOIN asked AS base ON base.run_id = asked.base_run_id
    WHERE asked.answers <> base.answers
    UNION ALL
    SELECT 'answers', run_id, format('run {}: no final answers', run_id)
    FROM asked WHERE answers = 0
    UNION ALL
    SELECT 'tokens', run_id,
        format('run {}: {} attributions whose lists are empty or differ in length', run_id, count(*))
    FROM attribution
    WHERE len(token_ids) = 0 OR len(tokens) <> len(token_ids) OR len(scores) <> len(token_ids)
        OR len(token_classes) <> len(token_ids) OR len(is_key) <> len(token_ids)
        OR len(token_parts) <> len(token_ids) OR len(is_cross_key) <> len(token_ids)
    GROUP BY run_id
    UNION ALL
    SELECT 'recovery', run_id, format('run {}: no recovery was tried on its final weights', run_id)
    FROM finished
    WHERE (run_id, final_step) NOT IN (SELECT (run_id, step) FROM recovery)
    UNION ALL
    SELECT 'utility', run_id,
        format('run {}: no plain text was scored on its final weights', run_id)
    FROM finished
    WHERE (run_id, final_step) NOT IN (
        SELECT (run_id, step) FROM utility WHERE task = 'plain_text' AND metric = 'nll')
    UNION ALL
    SELECT 'id', run_id, format('run {}: its id is not the hash of its spec', run_id)
    FROM run WHERE spec::JSON->>'$.method' IS NOT NULL AND run_id <> left(sha256(spec), 12)
    UNION ALL
    SELECT 'measurement', run_id,
        format('run {}: measurement version {}, its spec says {}', run_id, measurement, said)
    FROM (
        SELECT run_id, measurement, coalesce((spec::JSON->>'$.measurement')::INTEGER, 1) AS said
        FROM run WHERE spec::JSON->>'$.model_name' IS NOT NULL
    ) WHERE measurement <> said
    UNION ALL
    SELECT 'measurement', run.run_id, format('run {}: measurement version {}, its {} run has {}',
        run.run_id, run.measurement, of_role, other.measurement)
    FROM run
    CROSS JOIN (VALUES ('base'), ('retain'), ('sham')) AS roles (of_role)
    JOIN run AS other ON other.run_id = CASE of_role WHEN 'base' THEN run.base_run_id
        WHEN 'retain' THEN run.retain_run_id ELSE run.sham_run_id END
    WHERE other.measurement <> run.measurement
    UNION ALL
    SELECT 'data', run_id, format('run {}: its data are {}, its spec says {}', run_id,
        coalesce(data_hash, 'not noted'), said)
    FROM (SELECT run_id, data_hash, spec::JSON->>'$.benchmark.content' AS said FROM finished)
    WHERE said <> coalesce(data_hash, '')
    UNION ALL
    SELECT 'data', run.run_id, format('run {}: its data are {}, those of its {} run {}', run.run_id,
        run.data_hash, of_role, other.data_hash)
    FROM finished AS run
    CROSS JOIN (VALUES ('base'), ('retain'), ('sham')) AS roles (of_role)
    JOIN finished AS other ON other.run_id = CASE of_role WHEN 'base' THEN run.base_run_id
        WHEN 'retain' THEN run.retain_run_id ELSE run.sham_run_id END
    WHERE other.data_hash IS DISTINCT FROM run.data_hash
    UNION ALL
    SELECT 'content', run_id, format('run {}: what it published is not noted', run_id)
    FROM run WHERE run_id NOT IN (SELECT run_id FROM content)
    UNION ALL
    SELECT 'outside', any_value(outside.name), format('evaluation {}: {} values, read were {}',
        any_value(outside.name), count(outside_metric.outside_id), any_value(outside.rows))
    FROM outside_run AS outside LEFT JOIN outside_metric USING (outside_id)
    GROUP BY outside_id HAVING count(outside_metric.outside_id) <> any_value(outside.rows)
    UNION ALL
    SELECT 'outside', outside_id, format('outside_metric: {} values of evaluation {}, which is not in'
        ' the file', count(*), outside_id)
    FROM outside_metric ANTI JOIN outside_run USING (outside_id) GROUP BY outside_id
    UNION ALL
    SELECT 'failed', run_id, format('run {}: failed: {}', run_id, error)
    FROM run WHERE status = 'failed'
    UNION ALL
    SELECT 'plan', study, format('study {}: {} of {} planned runs have no result', study,
        count(*) FILTER (run.run_id IS NULL), count(*))
    FROM planned_run LEFT JOIN run USING (run_id)
    GROUP BY study HAVING count(*) FILTER (run.run_id IS NULL) > 0
)
SELECT problem FROM problem ORDER BY place, run_id, problem
