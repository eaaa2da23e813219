"""Checks of a loaded model, one file a check: whether what is measured on it is what it says."""
