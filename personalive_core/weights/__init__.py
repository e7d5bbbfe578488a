"""Weight files: downloaded, verified, read, converted and loaded; independent of the network definitions."""
