"""Files of control networks: what they are, whether they fit the image model, and their weights."""
