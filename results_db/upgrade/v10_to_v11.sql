-- The tables that differ between schema 10 and 11, made of those of schema 10 (`before`), which did
-- not measure how deep facts are still read.

CREATE TEMP VIEW depth AS
    SELECT NULL::VARCHAR AS run_id, NULL::INTEGER AS step, NULL::VARCHAR AS example_id,
        NULL::VARCHAR AS method, NULL::VARCHAR AS measure, NULL::INTEGER AS block,
        NULL::DOUBLE AS value, NULL::VARCHAR AS unit, NULL::VARCHAR AS reason
    WHERE false;

CREATE TEMP VIEW meta AS
    SELECT 11::INTEGER AS schema_version, ''::VARCHAR AS macros;
