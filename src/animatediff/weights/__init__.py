"""Weight files: identify, check, load and convert them before anything large is read."""
