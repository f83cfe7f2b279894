"""Actions by rule: a still of the prompt bounces, spins or sways, and frames begin from it."""
