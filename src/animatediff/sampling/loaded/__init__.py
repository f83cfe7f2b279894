"""What an animator has loaded, and how a request changes its weights."""
