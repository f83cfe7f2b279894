"""Networks that draw frames between two frames, with the parameter names of their authors."""
