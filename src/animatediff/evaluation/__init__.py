"""How good an animation is: an independent scorer, measures of motion and of text, and the protocol."""
