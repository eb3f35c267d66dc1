"""Base pipelines: the built-in one, trained here, and published ones pinned to a revision."""
