"""Toy stages."""

import os

if "TESTS_RECORDERS" in os.environ:
    from tests import recorders

    recorders.use()
