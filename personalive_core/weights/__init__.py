"""Weight files: fetched, verified, read, converted and filled in; knows no network."""
