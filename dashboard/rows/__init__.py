"""Rows that pages show: asked of the results file, of the model host or of the source, and kept."""
