"""Commands: one file a command of `unpact`; each parses, calls one function, prints."""
