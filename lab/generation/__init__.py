"""Images of an arm: a base pipeline, TACA, an adapter, and one seed an image."""
