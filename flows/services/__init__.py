"""Servers that flows need: Prefect and MLflow, and what is deployed there."""
