"""What a ticket is and how each type finds one. Pure PyTorch: no Ray, MLflow, Optuna or disk."""
