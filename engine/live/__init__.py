"""Live: questions put to loaded models while somebody waits."""
