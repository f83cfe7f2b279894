"""Builds: data sets that are cut, resampled and encoded once, stored in shards."""
