"""Reads one legacy pickle as data, in a process of its own.

``python -I -S -B legacy_child/__main__.py header|convert`` takes the file on standard input. It
writes the table of tensors (JSON) or a safetensors copy to standard output, and errors to standard
error. It imports only the standard library and these few files, opens nothing, and limits its own
memory, time and output.

A pickle is a program for a small machine with about sixty instructions. ``machine.py`` is that
machine without the part that calls functions. A name never becomes an object. A call of one of the
few functions that rebuild tensors becomes a description of the tensor, and any other call becomes
an inert placeholder (``calls.py``). Placeholders that are only carried along (a trainer's settings)
are dropped. A tensor that depends on one is refused, and so is any name that no weights need,
although it could do nothing here.
"""
