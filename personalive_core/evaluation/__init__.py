"""Evaluation of a model: scores against the true pictures of drawn, held-out people."""
