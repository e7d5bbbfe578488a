"""Live: driving frames in as a camera gives them, the animated portrait out, with a bounded delay."""
