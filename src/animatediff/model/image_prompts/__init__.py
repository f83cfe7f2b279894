"""Image prompts (IP-Adapter): attention to pictures beside the text."""
