"""T2I-CompBench as a library: its prompts, their parses, its scorers and their weights; `python -m compbench`."""
