"""LoRA under TACA: Eq. 12 and Eq. 13 of the paper (arXiv 2506.07986)."""
