"""Context windows: which frames are denoised together, and how much each counts."""
