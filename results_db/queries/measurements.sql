-- By which measurement versions were the runs of this file made?
-- Takes no parameters.
-- One row per benchmark and version of complete runs. runs: how many. newest: whether it is the
-- newest of the benchmark, which questions about several runs see unless another is asked for.
SELECT benchmark, measurement, count(*) AS runs,
    measurement = max(measurement) OVER (PARTITION BY benchmark) AS newest
FROM run WHERE status = 'complete'
GROUP BY benchmark, measurement
ORDER BY benchmark, measurement DESC
