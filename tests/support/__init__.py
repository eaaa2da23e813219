"""Helpers that tests share: rows, small models, hubs, studies that are killed."""
