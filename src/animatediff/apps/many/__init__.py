"""Many requests at once: a batch from a file, and a grid over two fields."""
