"""Cells on other machines: a Ray cluster, or a work pool of Prefect."""
