"""How well images follow their prompts: the benchmark's questions, whoever answers them, and paired statistics."""
