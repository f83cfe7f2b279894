"""Image prompts in use: which pictures each frame follows, how strongly, where, and at which steps."""
