"""Adapters as others take them: the weights with a model card, in a folder ready to be uploaded."""
