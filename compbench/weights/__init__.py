"""The published weights of the scorers, in one folder: which there are, fetching them, and proof of which were used."""

from compbench.weights.verify import verify

__all__ = ["verify"]
