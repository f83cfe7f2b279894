"""The training stages that make the parts of the built-in world's model."""
