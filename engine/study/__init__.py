"""Study: every run of a plan, from weights to rows, on this machine."""
