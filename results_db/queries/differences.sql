-- Were the compared runs made under the same conditions?
-- $benchmark  VARCHAR    name of the benchmark
-- $models     VARCHAR[]  models to show; empty means all
-- $methods    VARCHAR[]  unlearning methods to show; empty means all
-- One row per condition that differs between complete runs; no row when all are comparable.
-- condition: dtype, prompt format, data, weights of the base model (of one model), attribution
-- path (of one method), device, python, platform, commit, or a package by its name. Not threads: the
-- runs of one plan have several (docs/architecture.md, Repeatability); query runs has them.
-- found: the values, the most frequent first, with the number of runs of each. warning: one
-- sentence to show beside the comparison.
WITH chosen AS (
    SELECT run.*
    FROM run SEMI JOIN chosen_runs($benchmark, $models::VARCHAR[], $methods::VARCHAR[]) AS chosen
        ON chosen.run_id = run.run_id
), counted AS (
    SELECT condition, value, count(*) AS runs
    FROM run_conditions('chosen') WHERE value IS NOT NULL GROUP BY condition, value
)
SELECT condition, string_agg(format('{} ({} runs)', value, runs), ', ' ORDER BY runs DESC, value)
        AS found,
    format('These runs differ in {}: {}.', condition, found) AS warning
FROM counted
GROUP BY condition HAVING count(*) > 1
ORDER BY condition
