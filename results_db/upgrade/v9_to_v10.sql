-- The tables that differ between schema 9 and 10, made of those of schema 9 (`before`). There each
-- token of a template was deleted alone. A digest of `content` is of other columns then: it says so
-- and is not compared.

-- rowid: questions find rows first and read their lists after
CREATE TEMP VIEW attribution AS
    SELECT COLUMNS(lambda name: name <> 'rowid'), NULL::VARCHAR[] AS token_parts,
        NULL::BOOLEAN[] AS is_cross_key, rowid
    FROM before.attribution;

CREATE TEMP VIEW content AS
    SELECT * REPLACE (if(name = 'attribution', 'of schema 9', library) AS library)
    FROM before.content;

-- schema 9 held no evaluations that were made elsewhere
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
