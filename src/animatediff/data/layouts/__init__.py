"""Dataset layouts: folders, tables, archives and trainer settings, read as lists of clips."""
