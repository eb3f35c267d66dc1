"""What ends a flow's command with its sentence alone."""

from compbench.errors import CompbenchError
from lab.errors import LabError
from runtime.errors import StageError

TOLD = (StageError, LabError, CompbenchError, ConnectionError, TimeoutError)
