"""The independent scorer of the built-in world, its training, and the metrics that use it."""
