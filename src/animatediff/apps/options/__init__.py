"""Options on the command line: parsing, tables for the docs, names from other programs."""
