"""Animation: a portrait and a driving video or motion file to animated frames, and to a finished file."""
