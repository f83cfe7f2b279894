"""What was drawn for an evaluation already, so that an interrupted one continues."""
