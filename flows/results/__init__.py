"""Finished sweeps as pages to commit: `python -m flows.results NAME` writes docs/results/NAME.md and its numbers."""
