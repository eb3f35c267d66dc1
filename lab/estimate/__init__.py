"""What the stages will need of a GPU, of time and of disk, counted on the meta device before anything runs."""
