"""One MLflow run per stage execution, written by a process of its own.

Importing MLflow takes two to four seconds. A recorder process does that beside the stage's own start, so a stage pays
for it only when it is shorter than the import; and since the recorder outlives a killed stage, it can say so in MLflow.
"""

from runtime.tracking.client import Recorder
from runtime.tracking.place import check_answers, tracking_uri

__all__ = ["Recorder", "check_answers", "tracking_uri"]
