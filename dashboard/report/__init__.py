"""A report that can be handed over: one HTML file that asks no host for anything."""
