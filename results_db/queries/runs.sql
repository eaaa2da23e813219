-- Which runs are planned, running, complete or failed, and with what were they computed?
-- Takes no parameters.
-- One row per study and planned run, and per run that no study asks for (study NULL). status:
-- complete; running while progress is noted; failed; pending. done of total: units of the stage it
-- is in, NULL unless running. updated_at, started_at: UTC, ISO 8601. seconds: wall time.
-- parameters: weights of the model. trained_here: false where its weights are from elsewhere: where
-- they were taken from is stored (model_source; only of complete runs), or the spec names a base
-- checkpoint, or one that fine-tuning starts from. measurement: version, from 1. data_hash: version of the data. other_data: whether
-- questions about several runs see another version of the data of its benchmark, unless this one is
-- asked for. packages: JSON. Everything that only a finished or failed run has is NULL before.
WITH listed AS (
    SELECT study, run_id, position, benchmark, model, method, seed FROM planned_run
    UNION ALL
    SELECT NULL, run_id, NULL, benchmark, model, method, seed
    FROM run ANTI JOIN planned_run USING (run_id)
), latest AS (
    SELECT run.benchmark, run.measurement, run.data_hash, planned_at, started_at
    FROM run LEFT JOIN planned_run USING (run_id) LEFT JOIN study USING (study)
    WHERE status = 'complete'
), shown AS (
    SELECT benchmark, measurement, data_hash FROM latest
    QUALIFY row_number() OVER (PARTITION BY benchmark, measurement
        ORDER BY planned_at DESC NULLS LAST, started_at DESC, data_hash) = 1
)
SELECT listed.study, listed.run_id, listed.benchmark, listed.model, run.architecture,
    run.parameters,
    CASE WHEN run.run_id IS NOT NULL
        THEN model_source.run_id IS NULL AND run.spec::JSON->>'$.model.base.source' IS NULL
            AND run.spec::JSON->>'$.model.start.source' IS NULL
    END AS trained_here,
    listed.method, listed.seed,
    CASE
        WHEN run.status = 'complete' THEN 'complete'
        WHEN progress.run_id IS NOT NULL THEN 'running'
        ELSE coalesce(run.status, 'pending')
    END AS status,
    progress.stage, progress.done, progress.total, progress.updated_at, run.started_at, run.seconds,
    run.error, run.failed_step, run.spec, run.measurement, run.data_hash,
    run.data_hash <> shown.data_hash AS other_data, build.python, build.platform, build.device,
    build.threads, build.packages, build."commit"
FROM listed
LEFT JOIN run ON run.run_id = listed.run_id
LEFT JOIN build ON build.build_id = run.build_id
LEFT JOIN model_source ON model_source.run_id = listed.run_id
LEFT JOIN progress ON progress.run_id = listed.run_id
LEFT JOIN shown ON shown.benchmark = run.benchmark AND shown.measurement = run.measurement
ORDER BY study NULLS LAST, position, started_at, listed.run_id
