"""Inference: log-probabilities and answers of many prompts, plain or steered."""
