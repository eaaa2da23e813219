"""Tests of engine/attribution."""
