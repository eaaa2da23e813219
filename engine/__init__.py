"""The offline engine: unlearns models, attributes, recovers, evaluates, and publishes the rows."""
