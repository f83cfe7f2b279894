"""Wrappers around the prediction of noise, one file each: guidance, windows and the like."""
