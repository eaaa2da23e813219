-- The tables that differ between schema 9 and 10, made of those of schema 9 (`before`). There each
-- token of a template was deleted alone. A digest of `content` is of other columns then: it says so
-- and is not compared.

-- rowid: questions find rows first and read their lists after
CREATE TEMP VIEW attribution AS
    SELECT COLUMNS(lambda name: name <> 'rowid'), NULL::VARCHAR[] AS token_parts, rowid
    FROM before.attribution;

CREATE TEMP VIEW content AS
    SELECT * REPLACE (if(name = 'attribution', 'of schema 9', library) AS library)
    FROM before.content;

CREATE TEMP VIEW meta AS
    SELECT 10::INTEGER AS schema_version, ''::VARCHAR AS macros;
