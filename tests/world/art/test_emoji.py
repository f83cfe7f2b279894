"""The built-in world's facts: splits, captions, names and pins."""

from __future__ import annotations

import base64
import random

from animatediff.world.art.captions import caption_of, taught_phrases
from animatediff.world.art.emoji import STYLES, UNCLEARED_CLIPS, Concept, hexcode_of
from animatediff.world.art.packages import PACKAGES

FOX = Concept("1f98a", "fox", ("animal", "face"), 3)
STYLE = next(style for style in STYLES if style.name == "flat")


def test_splits_are_stable_and_about_nine_to_one() -> None:
    splits = [Concept(f"{i:x}", "", (), 0).split for i in range(4000)]
    assert splits == [Concept(f"{i:x}", "", (), 0).split for i in range(4000)]
    assert 0.87 < splits.count("train") / 4000 < 0.93
    assert splits.count("val") > 100
    assert splits.count("test") > 100


def test_noto_is_held_out_and_no_style_is_named_twice() -> None:
    assert [s.name for s in STYLES if s.held_out] == ["noto", "high-contrast"]
    assert len({s.phrase for s in STYLES}) == len(STYLES) == 9


def test_one_spelling_of_a_code_point_sequence() -> None:
    assert hexcode_of("2764-FE0F-200D-1F525") == "2764-200d-1f525"


def test_captions_name_the_concept_and_repeat_with_the_same_draw() -> None:
    facts = FOX.facts(STYLE)
    captions = {caption_of(facts, draw=random.Random(i)) for i in range(200)}
    assert all("fox" in caption for caption in captions)
    assert "fox, flat style" in captions
    assert caption_of(facts, draw=random.Random(3)) == caption_of(facts, draw=random.Random(3))
    moving = facts | {"motion": "rocking"}
    assert any("rocking" in caption_of(moving, draw=random.Random(i)) for i in range(20))


def test_taught_phrases_hold_every_label_tag_and_word_once() -> None:
    phrases = taught_phrases([FOX.facts(STYLE)], ["apple", "pear"], count=200, seed=0)
    assert {"fox", "animal", "apple", "pear", "fox, flat style"} <= set(phrases)
    assert len(phrases) == len(set(phrases))


def test_every_package_is_pinned_by_a_sha512_and_uncleared_clips_are_listed() -> None:
    assert all(len(base64.b64decode(p.sha512)) == 64 for p in PACKAGES)
    assert {s.package for s in STYLES} <= {p.name for p in PACKAGES}
    assert len(UNCLEARED_CLIPS) == 35
