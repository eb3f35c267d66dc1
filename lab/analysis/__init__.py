"""The paper's figures of what happens inside: attention to the text and predicted images, step by step."""
