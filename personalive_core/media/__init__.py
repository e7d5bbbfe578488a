"""Files to RGB frames with times and sound, and back; knows no networks."""
