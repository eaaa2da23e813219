"""Tests of engine/benchmarks."""
