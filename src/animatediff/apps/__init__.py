"""The edge: the only place that knows command lines, and later servers and clusters."""
