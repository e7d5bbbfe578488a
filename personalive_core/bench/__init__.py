"""Benchmarks: time, FLOPs and memory of each stage, on random weights."""
