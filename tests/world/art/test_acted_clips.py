"""Stills that act: rendered from their art, and the same for the same number."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from animatediff.video.actions import moved, scaled
from animatediff.world.art import acted_clips
from animatediff.world.art.acted_clips import ActedClips, Art, hull_of, under, warped
from animatediff.world.art.emoji import STYLES, Concept, render_svg

SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
    'viewBox="0 0 32 32"><rect x="8" y="8" width="16" height="16" fill="#f00"/></svg>'
)
FOX = Concept("1f98a", "fox", ("animal",), 3)
ARROW = Concept("27a1", "right arrow", ("arrow",), 8)


def webp() -> bytes:
    picture = Image.new("RGBA", (256, 256))
    picture.paste((255, 0, 0, 255), (64, 64, 192, 192))
    file = io.BytesIO()
    picture.save(file, "WEBP", lossless=True)
    return file.getvalue()


@pytest.fixture
def clips(monkeypatch: pytest.MonkeyPatch) -> ActedClips:
    concepts = {c.hexcode: c for c in (FOX, ARROW)}
    monkeypatch.setattr(acted_clips, "read_concepts", lambda folder: concepts)
    monkeypatch.setattr(acted_clips, "released_by_microsoft", lambda folder: set(concepts))
    monkeypatch.setattr(
        acted_clips, "vector_stills", lambda style, folder: iter([(c, SVG) for c in concepts])
    )
    monkeypatch.setattr(
        acted_clips, "raster_assets", lambda names, folder: iter([(c, webp()) for c in concepts])
    )
    return ActedClips(Path("none"), moved="actions")


def test_a_drawing_under_a_transform_is_where_the_transform_takes_it() -> None:
    still = render_svg(SVG)
    assert np.array_equal(render_svg(under(SVG, np.eye(3))), still)
    for picture in (render_svg(under(SVG, moved(0.25, 0))), warped(webp(), moved(0.25, 0))):
        assert np.abs(picture.astype(int) - np.roll(still, 16, axis=1)).mean() < 0.5
    small = render_svg(under(SVG, scaled(0.5, 0.5)))
    assert small[..., 3].sum() == pytest.approx(still[..., 3].sum() / 4, rel=0.02)


def test_a_raster_drawing_keeps_its_colours_at_soft_edges() -> None:
    picture = warped(webp(), moved(0.013, 0.021))
    inked = picture[picture[..., 3] > 8]
    assert (inked[:, 0] > 240).all()


def test_the_hull_lies_around_what_is_drawn() -> None:
    assert np.abs(hull_of(render_svg(SVG))).max() == pytest.approx(0.5, abs=0.02)
    assert np.abs(hull_of(np.zeros((8, 8, 4), np.uint8))).max() == 1


def test_a_clip_is_a_function_of_its_number(clips: ActedClips) -> None:
    first, again, other = clips.clip(3), clips.clip(3), clips.clip(4)
    assert first.meta == again.meta
    assert np.array_equal(first.image, again.image)
    assert first.meta != other.meta
    assert first.frames().shape == (16, 128, 128, 4)


def test_captions_say_what_is_done_and_in_which_style(clips: ActedClips) -> None:
    for sample in clips.samples(0, 6):
        assert sample.meta["motion"] in sample.meta["caption"]
        assert sample.meta["style_phrase"] in sample.meta["caption"]
        assert sample.meta["motion"] == sample.meta["actions"][0]


def test_held_out_styles_and_concepts_never_act(clips: ActedClips) -> None:
    assert {art.style.name for art in clips.art} == {s.name for s in STYLES if not s.held_out}
    assert all(clips.concepts[code].split == "train" for art in clips.art for code in art.drawings)


def test_what_is_called_left_or_right_is_never_mirrored(
    clips: ActedClips, monkeypatch: pytest.MonkeyPatch
) -> None:
    metas = [sample.meta for sample in clips.samples(0, 24)]
    assert any(m["mirrored"] for m in metas if m["label"] == "fox")
    assert not any(m["mirrored"] for m in metas if m["label"] == "right arrow")


def test_a_filmed_still_says_how_the_camera_moves(clips: ActedClips) -> None:
    filmed = ActedClips(Path("none"), moved="cameras")
    for sample in filmed.samples(0, 4):
        assert sample.meta["motion"].startswith("camera ")
        assert np.ptp(sample.frames().astype(int), axis=0).max() > 50


def test_art_is_rendered_from_vectors_and_from_pictures_alike() -> None:
    vector, raster = Art(STYLES[4], {"a": SVG}), Art(STYLES[6], {"a": webp()})
    one, two = (art.render("a", scaled(0.7, 0.9)) for art in (vector, raster))
    assert np.abs(one.astype(int) - two).mean() < 1.5
