"""What is learned, from what, and by which loop."""
