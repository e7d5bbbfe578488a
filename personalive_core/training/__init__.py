"""Training of the networks: stages, losses, datasets, checkpoints and run reports."""
