"""Table 1 of the paper: AnimateDiff and its baselines on the same prompts, seeds and driving clips."""
