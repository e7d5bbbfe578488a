"""Helpers for the wording of messages."""


def plural(count: int, noun: str) -> str:
    """The count with its noun: "1 frame", "2 frames"."""
    return f"{count} {noun}{'' if count == 1 else 's'}"
