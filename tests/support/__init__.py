"""What several tests use: rows made by hand, pages run without a browser."""
