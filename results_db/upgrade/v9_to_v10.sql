-- The tables that differ between schema 9 and 10, made of those of schema 9 (`before`). Schema 9 held
-- no evaluations that were made elsewhere; runs are the same.

CREATE TEMP VIEW outside_run AS
    SELECT NULL::VARCHAR AS outside_id, NULL::VARCHAR AS name, NULL::VARCHAR AS project,
        NULL::VARCHAR AS benchmark, NULL::VARCHAR AS kind, NULL::VARCHAR AS source,
        NULL::VARCHAR AS sha256, NULL::BIGINT AS rows, NULL::VARCHAR AS imported_at
    WHERE false;

CREATE TEMP VIEW outside_metric AS
    SELECT NULL::VARCHAR AS outside_id, NULL::VARCHAR AS metric, NULL::VARCHAR AS part,
        NULL::VARCHAR AS key, NULL::INTEGER AS "index", NULL::INTEGER AS place,
        NULL::DOUBLE AS value, NULL::VARCHAR AS text, NULL::VARCHAR AS reason
    WHERE false;

CREATE TEMP VIEW meta AS
    SELECT 10::INTEGER AS schema_version, ''::VARCHAR AS macros;
