"""Where jobs run: here (local)."""
