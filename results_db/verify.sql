-- What is wrong with this file?
-- One row per kind of problem and run. problem: one sentence.
WITH finished AS (
    SELECT run.*, final.step AS final_step
    FROM run LEFT JOIN checkpoint AS final ON final.run_id = run.run_id AND final.is_final
    WHERE run.status = 'complete'
), referring AS (
    SELECT 'stage' AS source, run_id FROM stage
    UNION ALL SELECT 'checkpoint', run_id FROM checkpoint
    UNION ALL SELECT 'model_source', run_id FROM model_source
    UNION ALL SELECT 'model_check', run_id FROM model_check
    UNION ALL SELECT 'step', run_id FROM step
    UNION ALL SELECT 'answer', run_id FROM answer
    UNION ALL SELECT 'attribution', run_id FROM attribution
    UNION ALL SELECT 'recovery', run_id FROM recovery
    UNION ALL SELECT 'recovery_strategy', run_id FROM recovery_strategy
    UNION ALL SELECT 'utility', run_id FROM utility
    UNION ALL SELECT 'statistic', run_id FROM statistic
    UNION ALL SELECT 'text_token_class', run_id FROM text_token_class
), measured AS (
    SELECT DISTINCT 'answer' AS source, run_id, step, example_id FROM answer
    UNION ALL SELECT DISTINCT 'attribution', run_id, step, example_id FROM attribution
    UNION ALL SELECT DISTINCT 'recovery', run_id, step, example_id FROM recovery
    UNION ALL SELECT DISTINCT 'utility', run_id, step, example_id FROM utility
    UNION ALL SELECT DISTINCT 'grade', run_id, step, example_id FROM grade
    UNION ALL
    SELECT DISTINCT 'emphasised_focus', run_id, step, example_id FROM emphasised_focus
    UNION ALL
    SELECT DISTINCT 'answer_token_class', run_id, step, example_id FROM answer_token_class
), asked AS (
    SELECT finished.run_id, finished.base_run_id, count(answer.example_id) AS answers
    FROM finished
    LEFT JOIN answer ON answer.run_id = finished.run_id AND answer.step = finished.final_step
    GROUP BY ALL
), problem AS (
    SELECT source AS place, run_id,
        format('{}: {} rows of run {}, which is not in the file', source, count(*), run_id) AS problem
    FROM referring ANTI JOIN run USING (run_id) GROUP BY source, run_id
    UNION ALL
    SELECT 'build', run_id, format('run {}: its build {} is not in the file', run_id, build_id)
    FROM run ANTI JOIN build USING (build_id)
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
    SELECT 'example', run_id, format('{}: {} examples of run {} are not in the file', source,
        count(DISTINCT example_id), run_id)
    FROM measured JOIN run USING (run_id)
    WHERE example_id IS NOT NULL
        AND (benchmark, example_id) NOT IN (SELECT (benchmark, example_id) FROM example)
    GROUP BY source, run_id
    UNION ALL
    SELECT 'checkpoint', run_id,
        format('{}: run {} has rows at step {}, which has no checkpoint', source, run_id, step)
    FROM measured JOIN run USING (run_id) ANTI JOIN checkpoint USING (run_id, step)
    GROUP BY source, run_id, step
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
    SELECT 'content', run_id, format('run {}: what it published is not noted', run_id)
    FROM run WHERE run_id NOT IN (SELECT run_id FROM content)
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
