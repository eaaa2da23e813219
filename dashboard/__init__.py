"""Pages that ask the results file named questions and draw the answers."""
