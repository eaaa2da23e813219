"""Tests of engine/audit."""
