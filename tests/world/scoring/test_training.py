from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from animatediff.data.shards import Sample, write_shards
from animatediff.errors import FileError, InputError
from animatediff.world.scoring.lite0 import Lite0
from animatediff.world.scoring.stored_features import Still, StoredFeatures, stored_features
from animatediff.world.scoring.training import (
    ScorerOptions,
    fit_scorer,
    is_held_out,
    style_description,
    train_scorer,
)
from animatediff.world.scoring.views import may_flip, style_view, view_of

OPTIONS = ScorerOptions(
    num_components=24, hidden=16, style_hidden=16, epochs=30, batch=32, dropout=0.1, size=32
)
STYLES = ("flat", "noto", "3d")


def stills(count: int = 40) -> tuple[Still, ...]:
    return tuple(
        Still(
            key=f"{number:x}_{style}",
            hexcode=f"{number:x}",
            label=f"thing {number}",
            style=style,
            split="test" if number % 10 == 0 else "train",
            group=1,
        )
        for number in range(count)
        for style in STYLES
    )


def features(known: tuple[Still, ...], *, facts: str, width: int = 32) -> StoredFeatures:
    """Features in which what is to be learned is plain, but for some noise."""
    generator = torch.Generator().manual_seed(0)
    names = sorted({getattr(still, facts) for still in known})
    directions = torch.randn(len(names), width, generator=generator)
    rows = torch.stack([directions[names.index(getattr(still, facts))] for still in known])
    noise = [0.1 * torch.randn(rows.shape, generator=generator) for _ in range(2)]
    return StoredFeatures(known, tuple(rows + part for part in noise))


def embed(labels) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return F.normalize(torch.randn(len(labels), 384, generator=generator))


def fit():
    known = stills()
    return fit_scorer(
        features(known, facts="hexcode"),
        features(known, facts="style"),
        network=Lite0(size=32),
        embed=embed,
        options=OPTIONS,
    )


def test_the_scorer_learns_what_the_features_say_and_marks_itself_on_what_it_never_saw():
    scorer, report = fit()
    assert report.held_out_pairs.top1.share > 0.9
    assert report.held_out_pairs.style.share == 1
    assert report.held_out_pairs.top1.total == sum(is_held_out(still) for still in stills())
    assert report.unseen_concepts.top1.total == 4 * len(STYLES)
    assert report.unseen_concepts.top1.share < 0.5  # random words cannot be guessed
    assert report.num_training_stills == sum(
        still.split == "train" and not is_held_out(still) for still in stills()
    )
    assert not any(parameter.requires_grad for parameter in scorer.parameters())
    assert any("style" in row.name for row in report.rows())


def test_training_again_gives_the_same_scorer():
    first, second = fit()[0], fit()[0]
    for (name, value), other in zip(
        first.state_dict().items(), second.state_dict().values(), strict=True
    ):
        if not name.startswith("network."):
            assert torch.equal(value, other), name


def test_features_of_other_stills_are_refused():
    known = stills()
    with pytest.raises(FileError, match="different stills"):
        fit_scorer(
            features(known, facts="hexcode"),
            features(known[3:], facts="style"),
            network=Lite0(size=32),
            embed=embed,
            options=OPTIONS,
        )


def test_only_training_concepts_are_held_out_pair_by_pair():
    known = stills(400)
    held_out = [still for still in known if is_held_out(still)]
    assert all(still.split == "train" for still in held_out)
    assert 0.05 < len(held_out) / len(known) < 0.15


def samples(style: str, count: int = 3) -> list[Sample]:
    generator = np.random.default_rng(0)
    return [
        Sample(
            f"{number:x}_{style}",
            {
                "hexcode": f"{number:x}",
                "label": f"thing {number}",
                "style": style,
                "split": "train",
                "group": 1,
            },
            generator.integers(0, 256, (128, 128, 4)).astype(np.uint8),
        )
        for number in range(count)
    ]


def test_stored_features_are_extracted_once_and_resumed(tmp_path: Path):
    for style in STYLES:
        write_shards(samples(style), tmp_path / "stills" / style)
    description = style_description(Lite0(size=32), num_views=2)
    stored = stored_features(tmp_path / "stills", description=description, cache=tmp_path / "cache")
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()}
    assert len(files) == len(STYLES) * 2
    (tmp_path / "cache" / "noto-style-soft-32px-view1.safetensors").unlink()
    again = stored_features(tmp_path / "stills", description=description, cache=tmp_path / "cache")
    assert again.stills == stored.stills
    assert all(torch.equal(a, b) for a, b in zip(again.views, stored.views, strict=True))
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()}
    assert sum(files[path] == kept[path] for path in files) == len(files) - 1


def test_no_stills_is_a_sentence(tmp_path: Path):
    with pytest.raises(FileError, match="no style folders"):
        stored_features(
            tmp_path,
            description=style_description(Lite0(size=32), num_views=1),
            cache=tmp_path / "cache",
        )


def test_a_scorer_that_is_to_see_nothing_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="at least 1 view"):
        train_scorer(tmp_path, cache=tmp_path, options=replace(OPTIONS, num_style_views=0))


def test_views_are_a_function_of_key_and_number():
    picture = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0))
    for make in (
        lambda key, view: view_of(picture, key=key, view=view, flip=True),
        lambda key, view: style_view(picture, key=key, view=view),
    ):
        assert torch.equal(make("a", 0), picture)
        assert torch.equal(make("a", 1), make("a", 1))
        assert not torch.equal(make("a", 1), make("b", 1))
        assert not torch.equal(make("a", 1), make("a", 2))


def test_what_has_a_direction_is_not_mirrored():
    assert may_flip("fox", group=3)
    assert not may_flip("right arrow", group=8)
    assert not may_flip("backhand index pointing left", group=1)
    assert not may_flip("three o’clock", group=5)
