"""Motion as a value, whichever networks read it."""
