"""Reads one legacy pickle as data and nothing else; run alone, in a process of its own.

``python -I -S -B legacy_child/__main__.py header|convert`` takes the file on standard input, writes its
table of tensors (JSON) or its safetensors copy to standard output, and what went wrong to standard
error. It imports the standard library and these few files alone, opens nothing, and limits its own
memory, time and output.

A pickle is a program for a small machine with some sixty instructions. ``machine.py`` is that
machine, without the part that calls: a name never becomes an object, a call of the few functions that
rebuild tensors becomes a description of the tensor, and any other call becomes an inert placeholder
(``calls.py``). Placeholders that are only carried along (a trainer's settings) are dropped; a tensor
that depends on one is refused, and so is any name that no weights need, although it could do nothing
here.
"""
