"""Files that people give as weights: a read-me, a login page, a pointer, a picture, an archive."""

from __future__ import annotations

import gzip
import io
import zipfile
from collections.abc import Mapping

from PIL import Image


def _picture(kind: str) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, kind)
    return out.getvalue()


def _archive() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("style/readme.txt", "Install me.")
    return out.getvalue()


FILES: Mapping[str, tuple[bytes, str]] = {
    "README.md": (b"# AnimateDiff\n\nAn animation.\n" * 40, "a text file"),
    # The first letters of these are instructions of the oldest pickles.
    "INSTALL": (b"Install this first\nNote that it is long\n" * 30, "a text file"),
    "config.yaml": (b"Vendor: x\nconfig: y\nmodel: z\nlora: q\n" * 30, "a text file"),
    "short.txt": (b"Look\n", "a text file"),
    "latin.txt": ("Größe des Modells\n".encode("latin-1") * 40, "a text file"),
    "notepad.txt": ("A model\n".encode("utf-16") * 2, "a text file"),
    "page.safetensors": (b"<!DOCTYPE html>\n<html><body>Log in</body></html>", "a web page"),
    "page2.safetensors": (b"\n\n<html lang='en'><head></head></html>", "a web page"),
    "pointer.safetensors": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
        "only a Git LFS pointer",
    ),
    "config.json": (b'{"a": 1}', "a JSON file"),
    "preview.png": (_picture("PNG"), "a PNG picture"),
    "preview.jpg": (_picture("JPEG"), "a JPEG picture"),
    "preview.webp": (_picture("WEBP"), "a WebP picture"),
    "style.zip": (_archive(), "a zip archive"),
    "style.gz": (gzip.compress(b"weights" * 9, mtime=0), "a gzip archive"),
    "style.gguf": (b"GGUF\x03\x00\x00\x00" + bytes(64), "a GGUF file"),
    "style.safetensors": (b"", "empty"),
}
"""The bytes of each file, and what it is."""
