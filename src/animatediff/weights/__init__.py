"""Files to modules and back: what a file holds is known before anything large is loaded."""
