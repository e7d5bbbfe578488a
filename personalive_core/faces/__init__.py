"""Faces in frames: found, chosen, cropped, followed, pasted back; knows no networks of a system."""
