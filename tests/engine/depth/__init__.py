"""Tests of depth: patching, lens and probe against plain loops, scores by hand."""
