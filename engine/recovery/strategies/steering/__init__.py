"""Rung 2: the words emphasised inside the model."""
