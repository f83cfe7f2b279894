"""Small inputs that people really have, or what makes them; one file each, named by what is seen.

A case holds no test. Its functions write the input into a folder, without network and without anything
that is not redistributable, so that every test that reads the same kind of input can ask for it.
"""
