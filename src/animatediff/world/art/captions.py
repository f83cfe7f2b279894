"""Captions of stills and clips, and training phrases of the text encoder."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import Any

STILL_TEMPLATES = (
    ("{label}, {style}", 60),
    ("a {label}, {style}", 8),
    ("{label} in {style}", 6),
    ("{style}, {label}", 6),
    ("{label}, {tag}, {style}", 8),
    ("{tag}, {label}, {style}", 4),
    ("{label}", 8),
)
CLIP_TEMPLATES = (
    ("{label}, {motion}, {style}", 50),
    ("{label}, {style}", 35),
    ("{label} {motion}", 8),
    ("{label}", 7),
)

ACTED_TEMPLATES = (
    ("{label}, {motion}, {style}", 40),
    ("a {label} {motion}, {style}", 25),
    ("{label} {motion}, {style}", 20),
    ("{label} {motion}", 15),
)
"""Of clips of stills that act, which always tell what they do."""
SAID_OTHERWISE = {
    "bouncing up and down": ("bouncing up and down", "bouncing", "moving up and down"),
    "swaying from side to side": ("swaying from side to side", "swaying"),
    "growing and shrinking": ("growing and shrinking", "pulsing"),
}
"""Other words for the motions that are measured of real clips."""


def caption_of(meta: dict[str, Any], *, draw: random.Random) -> str:
    """Draw a caption of a still or clip, as a person might type it."""
    templates = CLIP_TEMPLATES if "motion" in meta else STILL_TEMPLATES
    if "actions" in meta:
        templates = ACTED_TEMPLATES
    texts, weights = zip(*templates, strict=True)
    template = draw.choices(texts, weights)[0]
    tag = draw.choice(meta["tags"]) if meta["tags"] else meta["label"]
    motion = meta.get("motion", "")
    choices = meta.get("actions") or SAID_OTHERWISE.get(motion)
    if choices:
        motion = draw.choice(choices)
    return template.format(label=meta["label"], style=meta["style_phrase"], tag=tag, motion=motion)


MANNERS = (
    "waving walking running jumping dancing sleeping swimming flying spinning laughing crying "
    "blinking talking singing eating drinking falling rising shaking nodding bouncing swaying "
    "growing shrinking rocking moving turning rolling burning melting glowing smiling winking"
).split()
LOOKS = (
    "red orange yellow green blue purple pink brown black white grey golden silver big small tiny "
    "happy sad angry cute old young funny scary beautiful shiny wooden round"
).split()


def taught_phrases(
    metas: Sequence[dict[str, Any]], words: Iterable[str], *, count: int, seed: int
) -> list[str]:
    """Return training phrases: captions, names, tags, words and pairs of words.

    ``words`` is a general vocabulary, so that words outside all captions are placed near words with the
    same meaning.
    """
    draw = random.Random(seed)
    vocabulary = list(words)
    labels = sorted({m["label"] for m in metas})
    tags = sorted({t for m in metas for t in m["tags"]})
    styles = sorted({m["style_phrase"] for m in metas})
    motions = sorted({m["motion"] for m in metas if "motion" in m})

    def subject() -> str:
        return draw.choice((draw.choice(labels), draw.choice(tags), draw.choice(vocabulary)))

    makers = (
        (lambda: caption_of(draw.choice(metas), draw=draw), 40),
        (lambda: f"{subject()}, {draw.choice(styles)}", 14),
        (subject, 14),
        (lambda: f"{draw.choice(LOOKS)} {subject()}", 8),
        (lambda: f"{subject()} {draw.choice(MANNERS)}, {draw.choice(styles)}", 8),
        (lambda: f"a {subject()} {draw.choice(MANNERS)}", 4),
        (
            lambda: (
                f"{subject()}, {draw.choice(motions)}, {draw.choice(styles)}"
                if motions
                else subject()
            ),
            6,
        ),
        (lambda: f"{subject()} and {subject()}", 3),
        (lambda: f"{subject()} {subject()}", 3),
    )
    choices, weights = zip(*makers, strict=True)
    phrases = [*labels, *tags, *vocabulary, *(f"{a}, {s}" for a in labels for s in styles)]
    while len(phrases) < count:
        phrases.append(draw.choices(choices, weights)[0]())
    return list(dict.fromkeys(phrases))
