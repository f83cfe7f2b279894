"""Lessons: the losses to minimise, and augmentations of their clips."""
