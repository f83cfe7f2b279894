"""Clips, stills and where they come from."""
