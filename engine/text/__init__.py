"""Text: words, prompts, answers, refusals; nothing here knows a model."""
