"""Shows a line of text on a node of the page, while it runs and after."""

from __future__ import annotations

from server import PromptServer

_told: set[str] = set()  # nodes that show a line


def notify(node: str, text: str) -> None:
    """Shows `text` on the node `node`, in the page that runs it; an empty text takes the line before it away."""
    server = getattr(PromptServer, "instance", None)
    client = getattr(server, "client_id", None)
    if client is None or not (text or node in _told):  # None would send it to every page
        return
    server.send_progress_text(text, node, client)
    if text:
        _told.add(node)
    else:
        _told.discard(node)
