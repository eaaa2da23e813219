"""Methods: what each method, metric and query does, in the words of its source."""

from dashboard.controls import lookup, panels
from dashboard.rows import catalogue

panels.page(
    "Methods",
    "What exactly is computed? Every method, metric and query, from its own docstring or SQL.",
)
found = lookup.search()
if panels.found(found, "Nothing here has these words. Search for fewer, or in all kinds."):
    entry = lookup.pick(found)
    panels.heading(f"What is {entry.name}?")
    panels.markup(lookup.description(entry))
    panels.source(entry.path, entry.code, entry.language)
    panels.heading("What else is there?", "Choose a line to read about it.")
    lookup.browse(found, catalogue.listing(found))
