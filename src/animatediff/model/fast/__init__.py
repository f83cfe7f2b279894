"""Fast paths: the same results in less time or memory; each can be removed."""
