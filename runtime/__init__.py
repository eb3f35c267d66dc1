"""How a stage is run and recorded: inputs, kills, whole outputs, MLflow; what the stage computes is not known here."""
