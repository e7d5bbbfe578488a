"""A portrait and a driving to animated frames and to a finished file."""
