"""Metrics that compare pictures."""
