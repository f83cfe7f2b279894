"""Prompts to text conditioning: syntax, wildcards, textual inversions, prompt travel."""
