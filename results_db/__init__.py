"""The results database: records, schema, guarded writes, named questions."""
