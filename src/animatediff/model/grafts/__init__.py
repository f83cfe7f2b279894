"""Branches and changes of frozen layers: grafts, low-rank updates, merging them into weights."""
