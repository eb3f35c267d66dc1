"""What the experiment computes: its world, data, bases, training, images and report, and the parameters of each."""
