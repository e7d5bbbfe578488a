"""What a model is worth: figures against the true pictures of drawn people that it has never seen."""
