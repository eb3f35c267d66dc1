"""What TACA costs: `python -m benchmarks.attention` measures it, `python -m benchmarks.table` writes the docs page."""
