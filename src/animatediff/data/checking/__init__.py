"""Check clips: their properties, and which of them are bad."""
