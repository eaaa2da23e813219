"""Rung 4: changed weights, the plain question."""
