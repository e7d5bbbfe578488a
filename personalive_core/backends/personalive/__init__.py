"""PersonaLive (arXiv 2512.11253)."""
