"""Recovery: attempts to bring knowledge back, each beside its placebos."""
