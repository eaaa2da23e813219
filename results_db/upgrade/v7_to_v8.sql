-- The tables that differ between schema 7 and 8, made of those of schema 7 (`before`). What schema 7
-- did not note is NULL: steps and reason of an attribution, how a model was asked, the prefix taken
-- off its weights' names. It made no checks of models. Its runs are of measurement version 1.
-- A digest of `content` is of other columns then: it says so and is not compared.

CREATE TEMP TABLE run AS
    SELECT *, 1::INTEGER AS measurement FROM before.run ORDER BY rowid;

CREATE TEMP VIEW model_source AS
    SELECT *, NULL::VARCHAR AS asked, NULL::VARCHAR AS stripped_prefix FROM before.model_source;

CREATE TEMP VIEW model_check AS
    SELECT NULL::VARCHAR AS run_id, NULL::VARCHAR AS model, NULL::VARCHAR AS "check",
        NULL::BOOLEAN AS passed, NULL::BOOLEAN AS allowed, NULL::DOUBLE AS figure,
        NULL::VARCHAR AS note
    WHERE false;

-- rowid: questions find rows first and read their lists after
CREATE TEMP VIEW attribution AS
    SELECT *, NULL::INTEGER AS steps, NULL::VARCHAR AS reason, rowid FROM before.attribution;

CREATE TEMP VIEW content AS
    SELECT * REPLACE (
        if(name IN ('run', 'model_source', 'attribution'), 'of schema 7', library) AS library
    )
    FROM before.content;

CREATE TEMP VIEW meta AS
    SELECT 8::INTEGER AS schema_version, ''::VARCHAR AS macros;
