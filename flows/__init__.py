"""What runs when and where: flows over the DVC stages, which they start as programs and never import."""
