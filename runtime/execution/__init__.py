"""How a program runs as a DVC stage: inputs from `dvc.yaml`, work that survives kills, whole outputs, an MLflow run."""

from runtime.execution.running import Run, stage

__all__ = ["Run", "stage"]
