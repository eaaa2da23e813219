"""Audit: checkpoints made elsewhere, put into a plan and judged."""
