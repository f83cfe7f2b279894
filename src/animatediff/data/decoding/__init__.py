"""Decode pictures and videos into frames, in a child process that can be stopped."""
