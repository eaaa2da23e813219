"""Depth: at which block of a model what it was asked can still be read.

A module of `methods/` has a frozen dataclass `Method` whose fields are its settings, is named in a
plan's `[probe.depth]`, and is measured on the final weights: one row an example and block, or rows
without a value that say why. Scores and means over them are SQL (`depth` and `depth_scores` in
results_db/queries). A block's state is its own output: the library's last hidden state comes after
the final norm, and is another thing.
"""
