"""Metrics of pictures and films: definitions and figures; networks come in as functions."""
