"""Captioners for other images than the built-in world's: a model, whoever serves one, or the user's own table."""
