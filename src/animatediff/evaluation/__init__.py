"""How good an animation is: an independent scorer, motion and text measured, the protocol."""
