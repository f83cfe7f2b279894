"""Image models from diffusers folders and single files."""
