"""Datasets: clips and stills, their layouts, decoding, checks and shards."""
