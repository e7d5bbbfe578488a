"""The ideas of Stable Video-Driven Portraits (arXiv 2509.17476) over SD3's transformer: experimental, untrained."""
