"""Stages of one workspace, run and recorded: processes, places, DVC's graph, the flow's MLflow run."""
