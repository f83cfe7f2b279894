"""Which clips have no caption of their own, and when that stops a command."""

from __future__ import annotations

from animatediff.data.layouts.listing import Listing
from animatediff.errors import InputError

MOST_UNCAPTIONED = 0.1
"""Share of clips without a caption that may be used under their file names."""


def check_captioned(listing: Listing, *, use: str) -> None:
    """Refuse clips of which many would go under their file names.

    Args:
        listing: the clips.
        use: what would be done with the names, for the sentence: ``"trained on"``.

    Raises:
        InputError: more than ``MOST_UNCAPTIONED`` of them have no caption.
    """
    missing = [entry for entry in listing.entries if entry.caption is None]
    if len(missing) > MOST_UNCAPTIONED * len(listing.entries):
        raise InputError(
            f"{len(missing)} of {len(listing.entries)} clips in {listing.path} have no caption, and "
            f"would be {use} their file names, such as {missing[0].text!r:.60}; write captions "
            f"(`animatediff dataset check {listing.path}` lists what is missing), give one for all "
            "with --caption, or accept the names with --caption-from-names."
        )
