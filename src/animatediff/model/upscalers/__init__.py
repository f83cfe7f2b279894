"""Networks that enlarge pictures, with the parameter names of their authors."""
