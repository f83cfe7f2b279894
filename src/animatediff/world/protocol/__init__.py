"""Evaluations of the built-in world's model, one file per question; each returns a frozen report.

They follow Sec. 5 (arXiv 2307.04725), with the independent scorer in CLIP's place and optical flow
against real clips. Every number comes with its count, its interval and, where possible, the same number
for real pictures or clips, as an upper bound.
"""
