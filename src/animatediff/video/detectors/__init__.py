"""Hint drawers with learned weights, which are files of other packages or of the user."""
