"""The art of the built-in world: stills and clips, their captions, and how they are rendered."""
