"""Tests of engine/study."""
