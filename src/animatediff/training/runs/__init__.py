"""Runs: the training loop, its checkpoints, metrics and report."""
