"""What was found, as sentences made of the rows of questions; pages and reports say the same."""
