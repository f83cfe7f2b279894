"""Lessons: the losses that are minimised, and the variations of the clips that they read."""
