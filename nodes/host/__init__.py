"""Code that depends on ComfyUI: sockets, memory, folders, errors, inputs, web page events, the sampler's stream."""
