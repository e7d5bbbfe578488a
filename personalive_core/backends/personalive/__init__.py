"""The PersonaLive backend (arXiv 2512.11253)."""
