"""Evaluations in the files of other projects: read to be laid beside ours, and written."""
