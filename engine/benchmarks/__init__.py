"""Benchmarks: each module has `load(...) -> Benchmark`; its file name is its name in a plan."""
