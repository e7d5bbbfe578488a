"""What belongs to ComfyUI: its sockets, memory, folders, errors, inputs, page and stream."""
