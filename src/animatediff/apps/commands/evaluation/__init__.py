"""The commands that measure models and show what was measured, one file each."""
