"""Tests of engine/plans."""
