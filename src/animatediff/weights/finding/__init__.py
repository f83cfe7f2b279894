"""Find the file that a name means: built-in, in model folders, published, or on disk."""
