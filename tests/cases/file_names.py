"""Names of files that people use and that programs take for something else."""

from __future__ import annotations

NAMES = (
    "fox: a hare",
    "http: fox",
    "concat:fox",
    "100% fox",
    "fox %03d",
    "-fox",
    "fox?a=b#c",
    "狐 ثعلب 🦊",
    "two\nlines",
    "fox.v2",
    "a" * 240,
)
"""Without their suffix; the last is nearly as long as a name can be."""
