"""Backends: one folder per animation system, with the same file names in each."""
