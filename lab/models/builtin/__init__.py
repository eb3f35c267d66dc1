"""The built-in base: a small Stable Diffusion 3.5-type pipeline and CLIP model, trained from params and a seed."""
