"""Drawn people whose every number is known: for the sample, for training and for measuring."""
