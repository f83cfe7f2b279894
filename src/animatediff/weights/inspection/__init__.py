"""What a file is, told in parts: what each kind of file is looked at for."""
