"""Tests of engine/unlearning."""
