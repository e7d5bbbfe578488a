"""What each stage costs: time, FLOPs and memory, on random weights."""
