"""Many jobs on many machines; loads no torch."""
