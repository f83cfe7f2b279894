"""Prompts for parts of the frame."""
