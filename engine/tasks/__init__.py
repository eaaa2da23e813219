"""Tasks: each module has `score(lm, examples, place, tokens_per_batch)`, one row an example."""
