"""Decoding: frames from pictures and videos, in a child process that can be stopped."""
