"""Stages: the table of what can be trained, and how each stage is prepared and saved."""
