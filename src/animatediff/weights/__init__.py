"""Files to modules and back: what a file holds is known, and said, before anything large is loaded."""
