"""Optimizer steps: optimizers, memory-saving steps, several processes, sharding."""
