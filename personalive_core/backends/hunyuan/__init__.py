"""HunyuanPortrait (arXiv 2503.18860): portraits animated by a video diffusion model, for research only."""
