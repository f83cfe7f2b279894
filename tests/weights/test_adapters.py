"""Domain adapters and MotionLoRAs: the merge rule exactly, at any scale, and only where they fit."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from tests.weights import synthetic
from torch import Tensor

from animatediff.errors import FileError
from animatediff.model.animated_unet import AnimatedUNet
from animatediff.model.grafts.low_rank import attention_projections, changes_of
from animatediff.model.grafts.merging import exchanged, merged
from animatediff.model.without_values import without_values
from animatediff.weights.adapters import (
    LoadedLowRank,
    fill_low_rank,
    graft_adapter,
    graft_motion_lora,
    read_adapter,
    read_motion_lora,
)
from animatediff.weights.finding.builtin import resolve
from animatediff.weights.storage.files import write_weights

CPU = torch.device("cpu")
ADAPTERS = ("domain-adapter", "domain-adapter-diffusers", "domain-adapter-kohya", "lora-peft")
MOTION_LORAS = (
    "motion-lora-v2",
    "motion-lora-diffusers",
    "motion-lora-kohya",
    "motion-lora-peft",
    "motion-director",
)


@functools.cache
def unet() -> UNet2DConditionModel:
    torch.manual_seed(0)
    return UNet2DConditionModel(**synthetic.unet_config("sd15", "small")).requires_grad_(False)


@functools.cache
def animated(*, mid: bool = True) -> AnimatedUNet:
    torch.manual_seed(1)
    model = AnimatedUNet(unet(), mid=mid)
    model.remove()
    return model.requires_grad_(False)


def plain_rule(name: str, tensors: dict[str, Tensor], *, alpha: float) -> dict[str, Tensor]:
    """alpha * up @ down of every layer, told from the names by the rule of the authors' code."""
    deltas: dict[str, Tensor] = {}
    for key, up in tensors.items():
        if not key.endswith(("_lora.up.weight", "lora_up.weight", "lora_B.weight")):
            continue
        down = tensors[
            key.replace("_lora.up.", "_lora.down.")
            .replace("lora_up.", "lora_down.")
            .replace("lora_B.", "lora_A.")
        ]
        layer = key.replace("unet.", "", 1) if key.startswith("unet.") else key
        layer = layer.replace("processor.", "").replace("_lora.up.weight", "")
        layer = layer.replace(".lora_B.weight", "").replace(".lora_up.weight", "")
        if layer.endswith("to_out"):
            layer += ".0"
        deltas[layer] = alpha * (up.float() @ down.float())
    return deltas


def in_authors_words(layers: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """The layers of our motion modules or image model, named as in the file."""
    renamed: dict[str, Tensor] = {}
    for path, weight in layers.items():
        site, _, rest = path.partition(".")
        if site.startswith(("down_blocks", "up_blocks", "mid_block")):
            theirs = path
        else:
            side, *numbers = site.split("_")
            blocks = "mid_block" if side == "mid" else f"{side}_blocks.{numbers[0]}"
            theirs = f"{blocks}.motion_modules.{numbers[-1]}.temporal_transformer.{rest}"
        if name in ("motion-lora-diffusers", "motion-lora-peft"):
            theirs = theirs.replace(".temporal_transformer", "")
            theirs = theirs.replace("attention_blocks.0", "attn1")
            theirs = theirs.replace("attention_blocks.1", "attn2")
        if name.endswith("kohya"):
            theirs = f"lora_unet_{theirs.replace('.', '_')}"
        renamed[theirs] = weight
    return renamed


def weights_of(loaded: LoadedLowRank) -> dict[str, Tensor]:
    return {host: graft.host.weight.clone() for host, graft in loaded.grafts.items()}  # type: ignore[union-attr]


@pytest.mark.parametrize("name", [*ADAPTERS, *MOTION_LORAS])
def test_the_merge_rule_is_exact_and_leaves_no_trace(tmp_path: Path, name: str) -> None:
    tensors = synthetic.tensors(name)
    for key in tensors:
        if key.endswith(".alpha"):
            tensors[key] = torch.tensor(float(synthetic.SAMPLES[name].rank or 0)).half()
    path = write_weights(tmp_path / "file.safetensors", tensors, metadata={})
    if name in ADAPTERS:
        loaded = graft_adapter(unet(), read_adapter(path), scale=0.7)
    else:
        loaded = graft_motion_lora(animated(), read_motion_lora(path), scale=0.7)
    fill_low_rank(loaded, dtype=torch.float32, device=CPU)
    before = weights_of(loaded)
    with exchanged(merged([(changes_of(loaded.grafts), 0.7)])):
        changed = weights_of(loaded)
    after = weights_of(loaded)
    loaded.grafts.remove()
    deltas = plain_rule(name, tensors, alpha=0.7)
    ours = {host: changed[host] - before[host] for host in before}
    named = in_authors_words(ours, name)
    named = {key: named[key] for key in named}
    assert named.keys() == {key.replace("processor.", "") for key in deltas}
    for layer, delta in deltas.items():
        assert (named[layer] - delta).abs().max() < 1e-6, layer
    assert all(torch.equal(before[host], after[host]) for host in before)


def test_an_alpha_in_the_file_is_honoured(tmp_path: Path) -> None:
    tensors = synthetic.tensors("motion-lora-kohya")
    for key in tensors:
        if key.endswith(".alpha"):
            tensors[key] = torch.tensor(16.0)
    path = write_weights(tmp_path / "file.safetensors", tensors, metadata={})
    file = read_motion_lora(path)
    assert set(file.alphas.values()) == {16.0}
    assert set(file.ranks.values()) == {64}


def test_a_scale_is_live_and_the_branch_equals_the_merge(tmp_path: Path) -> None:
    path = synthetic.write(tmp_path / "adapter.safetensors", "domain-adapter")
    loaded = graft_adapter(unet(), read_adapter(path), scale=1.0)
    fill_low_rank(loaded, dtype=torch.float32, device=CPU)
    layer = next(iter(loaded.grafts.values())).host
    x = torch.randn(2, 3, layer.in_features)  # type: ignore[arg-type]
    results: list[Tensor] = []
    for scale in (1.0, 0.5, 0.0, 1.0):
        loaded.grafts.scale = scale
        grafted = layer(x)
        with loaded.grafts.at(0.0), exchanged(merged([(changes_of(loaded.grafts), scale)])):
            assert torch.allclose(layer(x), grafted, atol=1e-5)
        results.append(grafted)
    loaded.grafts.remove()
    assert torch.equal(results[0], results[3])
    assert torch.equal(results[2], layer(x))
    assert not torch.equal(results[0], results[1])


def test_a_version_2_motion_lora_on_version_3_says_what_fits(tmp_path: Path) -> None:
    file = read_motion_lora(
        synthetic.write_sparse(tmp_path / "ZoomIn.safetensors", "motion-lora-v2")
    )
    with without_values():
        real = UNet2DConditionModel(**synthetic.unet_config("sd15"))
    for mid, note in ((True, ""), (False, "160 of its 168 branches are used")):
        model = AnimatedUNet(real, mid=mid)
        loaded = graft_motion_lora(model, file, scale=1.0)
        assert len(loaded.grafts) == (168 if mid else 160)
        assert (note in loaded.notes[0]) if note else (loaded.notes == ())
        model.remove()


def test_a_motion_lora_without_a_middle_on_version_2_says_so(tmp_path: Path) -> None:
    path = synthetic.write(tmp_path / "peft.safetensors", "motion-lora-peft")
    loaded = graft_motion_lora(animated(), read_motion_lora(path), scale=1.0)
    loaded.grafts.remove()
    assert "middle block" in loaded.notes[0]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("motion-lora-v2", "give it to --motion-lora"),
        ("lora-sd15", "give it to --lora"),
        ("locon", "give it to --lora"),
        ("motion-v3", "give it to --motion"),
        ("unet-sd15", "needs a domain adapter"),
        ("loha", "needs a domain adapter"),
    ],
)
def test_another_file_is_not_taken_for_a_domain_adapter(
    tmp_path: Path, name: str, sentence: str
) -> None:
    path = synthetic.write_sparse(tmp_path / "other.safetensors", name)
    with pytest.raises(FileError, match=sentence) as refused:
        read_adapter(path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["domain-adapter", "motion-v3", "lora-sd15", "vae"])
def test_another_file_is_not_taken_for_a_motion_lora(tmp_path: Path, name: str) -> None:
    path = synthetic.write_sparse(tmp_path / "other.safetensors", name)
    with pytest.raises(FileError, match="needs a MotionLoRA"):
        read_motion_lora(path)


def test_what_was_made_for_another_model_is_refused_and_leaves_no_trace(tmp_path: Path) -> None:
    hooks = sum(len(m._forward_hooks) for m in unet().modules())
    path = synthetic.write_sparse(tmp_path / "real.safetensors", "domain-adapter")
    with pytest.raises(FileError, match="not a domain adapter for this model: it differs in shape"):
        graft_adapter(unet(), read_adapter(path), scale=1.0)
    path = synthetic.write_sparse(tmp_path / "lora.safetensors", "motion-lora-v2")
    with pytest.raises(FileError, match="not a MotionLoRA for this model: it differs in shape"):
        graft_motion_lora(animated(), read_motion_lora(path), scale=1.0)
    xl = synthetic.write_sparse(tmp_path / "xl.safetensors", "lora-peft-raw")
    with pytest.raises(FileError, match="which has no"):
        graft_adapter(unet(), read_adapter(xl), scale=1.0)
    assert sum(len(m._forward_hooks) for m in unet().modules()) == hooks


def test_half_a_branch_and_numbers_that_are_none_are_refused(tmp_path: Path) -> None:
    tensors = synthetic.tensors("motion-lora-v2")
    key = next(iter(tensors))
    broken = write_weights(
        tmp_path / "nan.safetensors", {**tensors, key: tensors[key] * torch.nan}, metadata={}
    )
    loaded = graft_motion_lora(animated(), read_motion_lora(broken), scale=1.0)
    with pytest.raises(FileError, match="NaN or infinity"):
        fill_low_rank(loaded, dtype=torch.float32, device=CPU)
    loaded.grafts.remove()
    del tensors[key]
    half = write_weights(tmp_path / "half.safetensors", tensors, metadata={})
    with pytest.raises(FileError, match="lacks a half"):
        read_motion_lora(half)


def test_the_adapter_that_is_shipped_sits_on_every_attention_of_the_image_model_that_is_shipped():
    folder = resolve("model", "emoji") / "unet"
    with without_values():
        unet = UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(folder))
    shipped = graft_adapter(unet, read_adapter(resolve("adapter", "emoji")), scale=1.0)
    assert shipped.grafts.keys() == attention_projections(unet).keys()
