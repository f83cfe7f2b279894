"""Checking: what clips are like, and which of them cannot be used."""
