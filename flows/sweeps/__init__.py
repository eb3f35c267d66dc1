"""Sweeps: what a file of `experiments/sweeps` says, its cells, and how they are planned, run, drawn and reported."""
