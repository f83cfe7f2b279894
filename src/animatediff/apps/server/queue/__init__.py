"""What survives a kill: jobs and their events in SQLite, uploads and results in a folder of files."""
