"""A run on disk: made, opened, verified, and what leaves it. Nothing is imported here: what is read back needs no torch."""
