"""The questions put to a model of the built-in world, each answered by a frozen report.

Is the picture right? Does it move? Does motion carry over to a style that never moved? They follow
the questions of Sec. 5 (arXiv 2307.04725), with the independent scorer for CLIP and optical flow
against real clips for the eye. Every number comes with its count, its interval and, where there is
one, the same number for real pictures or clips: no model can be expected to pass what the real
thing fails.
"""
