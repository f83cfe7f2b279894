"""What the package ships of a world folder, and what stays behind."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file

from animatediff.world.pack import pack_world


def test_what_a_recipe_only_compares_with_stays_behind(tmp_path: Path) -> None:
    world = tmp_path / "work" / "world"
    for name in (
        "motion/emoji",
        "motion/emoji-adapted",
        "motion/emoji-unadapted",
        "motion/emoji-conv",
        "motion-lora/zoom-in",
        "motion-lora/zoom-in-rank2",
        "motion-lora/pan-right-rank2",
        "motion-lora/zoom-in-5clips",
        "motion-lora/heartbeat",
        "adapter/emoji",
        "adapter/heart",
        "lora/noto",
        "lora/noto-few",
        "emoji-noto-few/unet/weights",
    ):
        path = world / f"{name}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({"w": torch.ones(1)}, path)
    (world / "emoji-noto-few/unet/config.json").write_text("{}")
    sizes = pack_world(tmp_path / "work", tmp_path / "packed")
    kept = [
        "adapter/emoji",
        "lora/noto",
        "motion/emoji",
        "motion-lora/heartbeat",
        "motion-lora/zoom-in",
    ]
    assert sorted(sizes) == sorted(f"{name}.safetensors" for name in kept)
    assert not (tmp_path / "packed" / "emoji-noto-few").exists()


def test_a_trained_scorer_is_packed_as_it_is(tmp_path: Path) -> None:
    scorer = tmp_path / "work" / "scorer"
    scorer.mkdir(parents=True)
    save_file({"w": torch.ones(2)}, scorer / "scorer.safetensors")
    (scorer / "scorer.json").write_text("{}")
    sizes = pack_world(tmp_path / "work", tmp_path / "packed")
    assert list(sizes) == ["scorer/scorer.safetensors"]
    for path in scorer.iterdir():
        assert (tmp_path / "packed" / "scorer" / path.name).read_bytes() == path.read_bytes()
