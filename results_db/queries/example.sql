-- What is one example?
-- $benchmark   VARCHAR  name of the benchmark
-- $example_id  VARCHAR  the example
-- One row, or none. Columns as in the table example; lists as arrays.
SELECT * FROM example
WHERE benchmark = $benchmark AND data_hash = shown_data($benchmark) AND example_id = $example_id
