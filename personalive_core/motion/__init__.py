"""Hybrid motion as data, independent of the networks: files, editing, smoothing, gaps and plots."""
