"""Training of the networks: the three stages, their data and the figures that judge the result."""
