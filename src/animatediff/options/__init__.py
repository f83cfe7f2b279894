"""Options declared once: what the command line, TOML files, JSON bodies and the docs are made from."""
