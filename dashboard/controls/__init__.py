"""What a reader sets, and the furniture of pages: filters, pickers, panels, clickable tokens."""
