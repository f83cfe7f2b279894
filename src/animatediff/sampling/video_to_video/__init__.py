"""Begin from a video instead of from noise alone."""
