"""The choice `speed`: how the network calls of a stream run, from plain to compiled, in CUDA graphs, or in fp8."""
