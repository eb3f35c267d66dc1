"""BLIP-VQA: does the image show what each noun phrase says? Answered by BLIP (Li et al., 2022, arXiv 2201.12086)."""
