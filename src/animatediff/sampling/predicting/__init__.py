"""What noise the model predicts: with all that a request attaches to it, and every wrapper in order."""
