"""Colours, labels and formats: how anything is drawn and called; asks for no rows."""
