"""`python -m taca.params`: says what is wrong with `params.yaml`, one sentence per fault; nothing when all is well."""

import sys

from taca.params import ParamsError, load

try:
    load()
except ParamsError as error:
    sys.exit(str(error))
