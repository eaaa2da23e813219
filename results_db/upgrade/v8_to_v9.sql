-- The tables that differ between schema 8 and 9, made of those of schema 8 (`before`). There a
-- benchmark had one set of examples, whatever data its runs were made on. Each version of the data
-- gets the examples that a run of that version has rows of, and those that no run has any rows of.
-- No run left an example out: one that was too long failed.

CREATE TEMP TABLE example AS
    WITH version AS MATERIALIZED (
        SELECT DISTINCT benchmark, data_hash FROM before.run WHERE data_hash IS NOT NULL
    ), seen AS MATERIALIZED (
        SELECT DISTINCT benchmark, data_hash, example_id
        FROM (
            SELECT run_id, example_id FROM before.answer
            UNION ALL SELECT run_id, example_id FROM before.utility
        ) JOIN before.run USING (run_id)
        WHERE example_id IS NOT NULL
    )
    SELECT example.*, version.data_hash
    FROM before.example AS example JOIN version USING (benchmark)
    LEFT JOIN seen USING (benchmark, data_hash, example_id)
    WHERE seen.example_id IS NOT NULL
        OR NOT EXISTS (FROM seen AS other
            WHERE other.benchmark = example.benchmark AND other.example_id = example.example_id)
    ORDER BY example.rowid;

CREATE TEMP VIEW left_out AS
    SELECT NULL::VARCHAR AS run_id, NULL::VARCHAR AS example_id, NULL::INTEGER AS tokens,
        NULL::INTEGER AS context, NULL::VARCHAR AS reason
    WHERE false;

CREATE TEMP VIEW meta AS
    SELECT 9::INTEGER AS schema_version, ''::VARCHAR AS macros;
