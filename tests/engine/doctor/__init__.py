"""Tests of engine/doctor."""
