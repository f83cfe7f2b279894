"""The names of tensors in every file layout."""
