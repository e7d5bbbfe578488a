"""Runs many jobs on several ComfyUI servers; does not import torch."""
