"""The LivePortrait backend (arXiv 2407.03168)."""
