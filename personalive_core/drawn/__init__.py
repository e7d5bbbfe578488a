"""Drawn people with known ground truth: for the sample, for training and for evaluation."""
