"""A recorded run made again: its workspace and inputs, the comparison, the verdict."""
