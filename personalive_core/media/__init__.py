"""Reads and writes media files: RGB frames with times, and sound; does not depend on any network."""
