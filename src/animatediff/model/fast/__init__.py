"""Fast paths: equal results with less time or memory, each removable."""
