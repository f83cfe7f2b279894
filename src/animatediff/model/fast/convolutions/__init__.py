"""Convolutions: Winograd, upsampling folded into kernels, and frozen ones that save no input."""
