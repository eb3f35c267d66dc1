"""`python -m lab.params`: says what is wrong with `params.yaml`, one sentence per fault; nothing when all is well."""

import sys

from lab.params import load
from runtime.params import ParamsError

try:
    load()
except ParamsError as error:
    sys.exit(str(error))
