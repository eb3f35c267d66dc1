"""The built-in world: scenes with known truth, their pictures and words, and a detector that reads pixels alone."""
