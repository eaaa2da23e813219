-- Which versions of its data were the runs of each benchmark made on?
-- Takes no parameters.
-- One row per benchmark, measurement version and version of the data of complete runs, the one that
-- is shown first. runs: how many. examples: how many of the version are stored. started_at: when the
-- first of the runs started, UTC, ISO 8601. asked_for: whether a study asks for any of the runs,
-- of data that were changed since none does; NULL where no study asks for any run of the benchmark. shown: whether questions about several runs see them
-- unless others are asked for.
WITH listed AS (
    SELECT run.run_id, run.benchmark, run.measurement, run.data_hash, run.started_at, planned_at
    FROM run LEFT JOIN planned_run USING (run_id) LEFT JOIN study USING (study)
    WHERE status = 'complete'
), version AS (
    SELECT benchmark, measurement, data_hash, count(DISTINCT run_id) AS runs,
        min(started_at) AS started_at, max(started_at) AS last_started, max(planned_at) AS planned_at
    FROM listed GROUP BY ALL
), counted AS (
    SELECT benchmark, data_hash, count(*) AS examples FROM example GROUP BY ALL
)
SELECT benchmark, measurement, data_hash, runs, coalesce(examples, 0) AS examples, started_at,
    CASE
        WHEN planned_at IS NOT NULL THEN true
        WHEN benchmark IN (SELECT benchmark FROM planned_run) THEN false
    END AS asked_for,
    row_number() OVER (PARTITION BY benchmark, measurement
        ORDER BY planned_at DESC NULLS LAST, last_started DESC, data_hash) = 1 AS shown
FROM version LEFT JOIN counted USING (benchmark, data_hash)
ORDER BY benchmark, measurement DESC, shown DESC, last_started DESC, data_hash
