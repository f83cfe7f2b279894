"""Control networks in use: which hint is for which frame, how strongly, and at which steps."""
