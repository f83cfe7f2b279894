"""The built-in world: its art, the stages that make its image model, its scorer and its protocol."""
