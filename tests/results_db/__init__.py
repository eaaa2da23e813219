"""Tests of the results file: what is stored, and what named questions answer."""
