"""What the models learn from and are asked for: prompts, sampled images, captions, encodings."""
