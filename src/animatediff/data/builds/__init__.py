"""Builds: datasets that are cut, resampled and encoded once, stored in shards."""
