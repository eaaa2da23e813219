-- What a metric of a task is on the final weights of a run, over one split.
-- run_id: The run.
-- task: Name of the task; answer: from the plain answers.
-- metric: Name of the metric.
-- split: The split its examples are of; empty where it is about none.
-- value: Mean over the examples, in unit; NULL where none has a value, and of ROUGE where it is undefined for one.
-- low: Lower end of its 95 % interval, robust to groups; NULL from one group.
-- high: Upper end of that interval; NULL from one group.
-- n: Examples with a value, a count.
-- groups: Groups of these examples, a count.
-- unit: Unit of value.
-- higher_is_better: Whether a higher value is a better model, the forget split apart.
-- base_value: Mean of the base model over the examples that both have; NULL without one.
-- drift: Mean of the value minus that of the base model, paired by example; NULL without one.
-- drift_low: Lower end of its 95 % interval, robust to groups.
-- drift_high: Upper end of that interval.
-- missing: Examples without a value, a count.
-- reason: Why they have none, the most frequent reason; NULL where none is missing.
WITH paired AS MATERIALIZED (
    SELECT item.*, base.value AS base_value
    FROM affected_item AS item
    JOIN affected ON affected.run_id = item.run_id
    LEFT JOIN affected_item AS base ON base.run_id = affected.base_run_id AND base.task = item.task
        AND base.metric = item.metric AND base.example_id = item.example_id
), measured AS (
    SELECT {'run_id': run_id, 'task': task, 'metric': metric, 'split': split,
            'is_drift': false} AS cell,
        CASE
            WHEN metric IN ('correct', 'refused') THEN 'rate'
            WHEN unit = 'fraction' THEN 'share'
            ELSE 'measure'
        END AS kind, "group", value, 1 AS weight
    FROM paired
    UNION ALL
    SELECT {'run_id': run_id, 'task': task, 'metric': metric, 'split': split, 'is_drift': true},
        'measure', "group", value - base_value, 1
    FROM paired
), found AS MATERIALIZED (
    FROM estimates('measured')
), counted AS (
    SELECT run_id, task, metric, split, any_value(unit) AS unit,
        any_value(higher_is_better) AS higher_is_better,
        avg(base_value) FILTER (value IS NOT NULL) AS base_value,
        count(*) FILTER (value IS NULL) AS missing, mode(reason) AS reason,
        coalesce(bool_or(reason LIKE '%so ROUGE is undefined'), false) AS undefined
    FROM paired GROUP BY run_id, task, metric, split
)
SELECT counted.run_id, counted.task, counted.metric, counted.split,
    if(undefined, NULL, found.estimate) AS value, if(undefined, NULL, found.low) AS low,
    if(undefined, NULL, found.high) AS high, coalesce(found.n, 0) AS n, coalesce(found.groups, 0) AS groups, unit,
    higher_is_better, if(undefined, NULL, base_value) AS base_value, drift.estimate AS drift, drift.low AS drift_low,
    drift.high AS drift_high, missing, reason
FROM counted
LEFT JOIN found ON found.cell = {'run_id': counted.run_id, 'task': counted.task,
    'metric': counted.metric, 'split': counted.split, 'is_drift': false}
LEFT JOIN found AS drift ON drift.cell = {'run_id': counted.run_id, 'task': counted.task,
    'metric': counted.metric, 'split': counted.split, 'is_drift': true}
