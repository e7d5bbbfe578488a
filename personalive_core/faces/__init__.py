"""Faces in frames: detects, chooses, crops, tracks and pastes them back; imports none of PersonaLive's networks."""
