"""How each kind of file is identified."""
