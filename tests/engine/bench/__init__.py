"""Tests of engine/bench."""
