"""Unlearning: losses, the loop over them, batches, and what of the answer they push."""
