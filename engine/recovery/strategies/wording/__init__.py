"""Rung 1: the words emphasised by wording."""
