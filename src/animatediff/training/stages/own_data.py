"""Training clips from a data set in any layout, or from the folder of ``dataset build``."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import cast, get_args

from animatediff.data.builds.clips import BuiltClips, read_built_clips
from animatediff.data.builds.read import said_of
from animatediff.data.clips import OwnClips, read_clips
from animatediff.data.decoding.media import Limits
from animatediff.data.layouts.captions import check_captioned
from animatediff.data.layouts.detect import list_clips
from animatediff.data.layouts.listing import Layout
from animatediff.errors import InputError
from animatediff.training.stages.option_groups import ClipOptions
from animatediff.weights.storage.files import sha256_of

ENCODERS = ("vae", "text_encoder")
"""The parts of an image model whose results are kept in a build."""


def encoders_of(files: Mapping[str, Path]) -> dict[str, str]:
    """Identity of a model's autoencoder and text encoder: hashes of their files."""
    return {
        name: sha256_of(files[name] if name in files else files["model"])[:16] for name in ENCODERS
    }


def encoder_name(model: str, files: Mapping[str, Path]) -> str:
    """How a build names what it was encoded with."""
    return ", ".join((model, *(f"{name} {seal}" for name, seal in encoders_of(files).items())))


def read_own_data(
    data: Path,
    options: ClipOptions,
    *,
    records: Path,
    num_frames: int,
    size: int,
    files: Mapping[str, Path],
    pattern: str | None = None,
    whole: bool = False,
    uses_captions: bool = True,
) -> OwnClips | BuiltClips:
    """The clips of a data set.

    Args:
        data: a data set in any layout, or the folder of a build.
        options: how it is read.
        records: the folder where what was found while reading is stored.
        num_frames: in a window; 1 trains on single pictures.
        size: pixels of a side.
        files: the image model's, to compare with those that a build was made with.
        pattern: a camera move to apply to every clip.
        whole: whether to read all clips, in any layout, whatever the options say.
        uses_captions: whether the clips' own captions are trained on.

    Raises:
        InputError: there is nothing, or it was built for something else.
        FileError: too many clips are bad, or a shard is broken.
        OutputError: the records cannot be written.
    """
    fps, layout = _rate(options.fps), _layout(options.layout)
    first, count = (0, None) if whole else (options.first_clip, options.clips)
    said = said_of(data)
    if said is not None and said.get("encoder") is not None:
        if pattern is not None:
            raise InputError(
                f"{data} holds clips as they were encoded, and --pattern films them anew; give the "
                "clips that it was built from."
            )
        return read_built_clips(
            data,
            said,
            size=size,
            fps=fps,
            num_frames=num_frames,
            encoders=encoders_of(files),
            first=first,
            count=count,
        )
    # --layout and --videos describe the training data, not the pictures of its class.
    listing = list_clips(data) if whole else list_clips(data, layout=layout, videos=options.videos)
    if uses_captions and not options.caption_from_names:
        check_captioned(listing, use="trained on")
    return read_clips(
        listing,
        size=size,
        fps=fps,
        num_frames=num_frames,
        pattern=pattern,
        max_bad=options.max_bad,
        limits=_limits(options),
        records=records / _record_name(data),
        first=first,
        count=count,
    )


def summary_of_bad(bad: Mapping[str, str]) -> str:
    """The clips that were set aside, as a fact of a run: the first names, and a hash of all."""
    if not bad:
        return "none"
    keys = sorted(bad)
    more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
    digest = hashlib.sha256("\n".join(keys).encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{', '.join(keys[:3])}{more} ({digest})"


def _record_name(data: Path) -> str:
    """The same for the same data set, and a name that people know it by."""
    where = str(data.resolve())
    digest = hashlib.sha256(where.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    known = "".join(c if c.isascii() and c.isalnum() else "-" for c in Path(where).name)[:40]
    return f"{known}-{digest}"


def _layout(name: str) -> Layout | None:
    if name == "auto":
        return None
    if name not in get_args(Layout):
        raise InputError(
            f"There is no layout {name!r:.40}; choose auto or one of {', '.join(get_args(Layout))}."
        )
    return cast(Layout, name)


def _limits(options: ClipOptions) -> Limits:
    if not (options.timeout > 0 and options.max_seconds > 0):
        raise InputError("--timeout and --max-seconds need a number above 0.")
    return Limits(seconds=options.max_seconds, timeout=options.timeout)


def _rate(fps: float) -> Fraction:
    if not 0 < fps <= 1000:
        raise InputError(f"Clips at {fps:g} frames a second cannot be learned; give --fps 8.")
    return Fraction(str(fps))
