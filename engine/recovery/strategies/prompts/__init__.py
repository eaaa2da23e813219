"""Rung 3: another prompt, without KeyTokens."""
