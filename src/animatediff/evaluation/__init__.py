"""Metrics of animations: optical flow, camera motion, intervals, and tables of results."""
