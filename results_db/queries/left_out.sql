-- Which examples did the runs not ask, since their models cannot read them?
-- $benchmark  VARCHAR    name of the benchmark
-- $models     VARCHAR[]  models to show; empty means all
-- $methods    VARCHAR[]  unlearning methods to show; empty means all
-- One row per complete run and example that it left out; none where all were asked. Such an example
-- counts in no figure of the run: its n are of the others. tokens: that the example needs; context:
-- that the model reads at most. examples: of the data of the run, a count, those left out included.
WITH counted AS (
    SELECT count(*) AS examples FROM example
    WHERE benchmark = $benchmark AND data_hash = shown_data($benchmark)
)
SELECT chosen.run_id, chosen.model, chosen.method, left_out.example_id, example.split, tokens,
    context, reason, counted.examples
FROM chosen_runs($benchmark, $models::VARCHAR[], $methods::VARCHAR[]) AS chosen
JOIN left_out ON left_out.run_id = chosen.run_id
JOIN example ON example.benchmark = chosen.benchmark AND example.data_hash = chosen.data_hash
    AND example.example_id = left_out.example_id
CROSS JOIN counted
ORDER BY chosen.model, chosen.method, chosen.run_id, left_out.example_id
