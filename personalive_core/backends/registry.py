"""The systems that animate a portrait, by name."""

from __future__ import annotations

PERSONALIVE, LIVEPORTRAIT = "personalive", "liveportrait"
SYSTEMS = (PERSONALIVE, LIVEPORTRAIT)
