"""Tests of pages, of their HTML and of their figures."""
