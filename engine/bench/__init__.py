"""Side-by-side measurements: ours against what people would use instead."""
