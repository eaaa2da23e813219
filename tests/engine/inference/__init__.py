"""Tests of engine/inference."""
