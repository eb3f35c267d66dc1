"""What the experiment computes: its world, data, bases, training, images and report, and the parameters of each."""

import logging

# peft imports bitsandbytes, which on every CPU warns of a kernel that nothing here uses.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
