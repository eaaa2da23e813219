"""Sources: rows, words and tables that benchmarks are made of."""
