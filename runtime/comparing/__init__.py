"""What MLflow's pages compare runs by: descriptions, views, data sets and registered models. Knows no store of runs."""
