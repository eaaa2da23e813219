"""Rows as HTML and as grids; every text from data is escaped here."""
