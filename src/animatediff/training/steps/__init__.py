"""Optimiser steps: optimisers, memory-saving steps, several processes, sharding."""
