"""What TACA costs: `attention` and `steps` measure it, `python -m benchmarks.table` writes the docs page."""
