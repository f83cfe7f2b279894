"""Every kind of control network, read from a file, against plain torch and against diffusers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.models.adapter import T2IAdapter
from diffusers.models.controlnets.controlnet import ControlNetModel
from diffusers.models.controlnets.controlnet_sparsectrl import SparseControlNetModel
from diffusers.models.controlnets.controlnet_union import ControlNetUnionModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from einops import rearrange, repeat
from safetensors.torch import save_file
from tests.parity import control_reference as plain
from tests.parity.reference import VERSIONS, Denoiser
from tests.weights import synthetic
from tests.weights.synthetic.control import (
    ldm_control_name,
    sparse_config,
    t2i_authors_name,
    t2i_config,
    union_config,
)
from torch import Tensor

from animatediff.model.control.network import ControlNetwork, Question
from animatediff.model.control.residuals import Residuals
from animatediff.model.control.union import HintedUnion
from animatediff.weights.control.file import read_control
from animatediff.weights.control.plan import plan_control

FRAMES, SIDE, T = 3, 8, 601
GROUPS = 8
"""Of norms: at this width 32 would leave one channel to each, constant where a frame has no hint."""
SIZE_WIDTH = 256


@pytest.fixture(scope="module")
def unets() -> dict[str, UNet2DConditionModel]:
    """The image models at reduced width with random weights."""
    made: dict[str, UNet2DConditionModel] = {}
    for base in ("sd15", "sd2", "sdxl"):
        torch.manual_seed(0)
        made[base] = UNet2DConditionModel(**small_config(base)).eval()
    return made


def small_config(base: str) -> dict[str, Any]:
    return synthetic.unet_config(base, "small") | {"norm_num_groups": GROUPS}


def weights_of(name: str) -> dict[str, Tensor]:
    return {key: tensor.float() for key, tensor in synthetic.tensors(name).items()}


def loaded(
    tmp_path: Path, weights: Mapping[str, Tensor], unet: UNet2DConditionModel, **options: Any
) -> ControlNetwork:
    save_file(dict(weights), tmp_path / "net.safetensors")
    plan = plan_control(read_control(tmp_path / "net.safetensors"), unet, **options)
    assert plan.notes == ()
    return plan.load(torch.float32, torch.device("cpu"))


def question_for(base: str, *, clips: int = 2) -> Question:
    generator = torch.Generator().manual_seed(7)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    rows = clips * FRAMES
    width = synthetic.unet_config(base, "small")["cross_attention_dim"]
    added = {"text_embeds": draw(rows, 1280), "time_ids": draw(rows, 6).abs() * 100}
    text = repeat(draw(clips, 5, width), "b n d -> (b f) n d", f=FRAMES)
    if base == "sdxl":  # the same for the frames of one clip, as the reference takes it
        added = {n: v[::FRAMES].repeat_interleave(FRAMES, 0) for n, v in added.items()}
    return Question(draw(rows, 4, SIDE, SIDE), T, text, added if base == "sdxl" else {}, FRAMES)


def in_time(rows: Tensor) -> Tensor:
    return rearrange(rows, "(b f) c h w -> b c f h w", f=FRAMES)


def pictures(count: int = FRAMES, *, side: int = 8 * SIDE) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(3))


def latents() -> Tensor:
    return torch.randn(1, 4, SIDE, SIDE, generator=torch.Generator().manual_seed(4))


def reference(base: str, weights: Mapping[str, Tensor]) -> Denoiser:
    widths = synthetic.unet_config(base, "small")["block_out_channels"]
    heads = (8,) * len(widths) if base == "sd15" else tuple(width // 8 for width in widths)
    return Denoiser(weights, {}, VERSIONS["v3"], groups=GROUPS, spatial_heads=heads)


def close(found: Residuals, wanted: plain.Found, *, tolerance: float = 1e-4) -> None:
    skips, mid = wanted
    assert found.mid is not None
    assert len(found.skips) == len(skips)
    for ours, theirs in zip((*found.skips, found.mid), (*skips, mid), strict=True):
        assert theirs.abs().max() > 1e-3
        assert (in_time(ours) - theirs).abs().max() < tolerance


def sizes_of(question: Question) -> dict[str, Any]:
    """What SDXL is given besides, a row for each clip."""
    if not question.added:
        return {}
    rows = {name: value[::FRAMES] for name, value in question.added.items()}
    return {"pooled": rows["text_embeds"], "sizes": rows["time_ids"], "size_width": SIZE_WIDTH}


@pytest.mark.parametrize(
    ("base", "sample"),
    [("sd15", "controlnet"), ("sd2", "controlnet-sd2"), ("sdxl", "controlnet-sdxl")],
)
@torch.no_grad()
def test_a_controlnet_is_its_reference(
    base: str, sample: str, unets: dict[str, UNet2DConditionModel], tmp_path: Path
) -> None:
    weights, question = weights_of(sample), question_for(base)
    net = loaded(tmp_path, weights, unets[base])
    hints = repeat(pictures(), "f c h w -> b c f h w", b=2)
    wanted = plain.controlnet(
        reference(base, weights),
        in_time(question.latents),
        T,
        question.text[::FRAMES],
        hints,
        **sizes_of(question),
    )
    close(net(question, net.embed(pictures())), wanted)


@pytest.mark.parametrize("numerics", ["faithful", "diffusers"])
@pytest.mark.parametrize("version", ["rgb", "scribble"])
@torch.no_grad()
def test_sparse_control_is_its_reference_with_either_norm(
    version: str, numerics: str, unets: dict[str, UNet2DConditionModel], tmp_path: Path
) -> None:
    weights, question = weights_of(f"sparse-{version}"), question_for("sd15")
    net: Any = loaded(tmp_path, weights, unets["sd15"], numerics=numerics)
    hint = pictures(1) if version == "scribble" else latents()
    embedded = net.embed(hint)[0]
    hints = torch.zeros(2, hint.shape[1], FRAMES, *hint.shape[2:])
    hints[:, :, 1] = hint
    mask = torch.zeros_like(hints[:, :1])
    mask[:, :, 1] = 1
    wanted = plain.sparse(
        reference("sd15", weights),
        in_time(question.latents),
        T,
        question.text[::FRAMES],
        hints,
        mask,
        motion=plain.Motion(weights, over_frames=numerics == "diffusers"),
    )
    close(net(question, (embedded[[1, 0, 1]],)), wanted)
    net.grafts.scale = 0.5
    halved = plain.Motion(weights, over_frames=numerics == "diffusers", strength=0.5)
    wanted = plain.sparse(
        reference("sd15", weights),
        in_time(question.latents),
        T,
        question.text[::FRAMES],
        hints,
        mask,
        motion=halved,
    )
    close(net(question, (embedded[[1, 0, 1]],)), wanted)


@pytest.mark.parametrize("version", ["rgb", "scribble"])
@torch.no_grad()
def test_sparse_control_is_diffusers_with_the_norm_exchanged(
    version: str, unets: dict[str, UNet2DConditionModel], tmp_path: Path
) -> None:
    name = f"sparse-{version}-diffusers"
    weights, question = weights_of(name), question_for("sd15")
    net: Any = loaded(tmp_path, weights, unets["sd15"], numerics="diffusers")
    theirs = SparseControlNetModel(**sparse_config(version, "small"), norm_num_groups=GROUPS).eval()
    theirs.load_state_dict(weights)
    hint = pictures(1) if version == "scribble" else latents()
    hints = torch.zeros(2, hint.shape[1], FRAMES, *hint.shape[2:])
    hints[:, :, 0] = hint
    mask = torch.zeros_like(hints[:, :1])
    mask[:, :, 0] = 1
    skips, mid = theirs(
        in_time(question.latents), T, question.text, hints, conditioning_mask=mask,
        return_dict=False,
    )  # fmt: skip
    found = net(question, (net.embed(hint)[0][[0, 1, 1]],))
    close(found, ([in_time(skip) for skip in skips], in_time(mid)))
    faithful: Any = loaded(tmp_path, weights, unets["sd15"])
    other = faithful(question, (faithful.embed(hint)[0][[0, 1, 1]],))
    assert (other.mid - found.mid).abs().max() > 1e-3


@pytest.mark.parametrize("sample", ["control-union", "control-union-promax"])
@torch.no_grad()
def test_a_union_net_is_its_reference_and_diffusers_on_every_frame(
    sample: str, unets: dict[str, UNet2DConditionModel], tmp_path: Path
) -> None:
    weights, question = weights_of(sample), question_for("sdxl")
    net = loaded(tmp_path, weights, unets["sdxl"])
    assert isinstance(net, HintedUnion)
    assert len(net.types) == len(weights["task_embedding"])
    net = net.for_type("canny")
    found = net(question, net.embed(pictures()))
    hints = repeat(pictures(), "f c h w -> b c f h w", b=2)
    wanted = plain.union(
        reference("sdxl", weights),
        in_time(question.latents),
        T,
        question.text[::FRAMES],
        hints,
        hint_type=3,
        type_width=SIZE_WIDTH,
        **sizes_of(question),
    )
    close(found, wanted)
    types = len(weights["task_embedding"])
    theirs = ControlNetUnionModel(**union_config(types, "small"), norm_num_groups=GROUPS).eval()
    theirs.load_state_dict(weights)
    one = slice(1, 2)  # the second frame, alone
    chosen = torch.zeros(1, types)
    chosen[0, 3] = 1
    skips, mid = theirs(
        question.latents[one],
        T,
        question.text[one],
        [pictures()[one]],
        chosen,
        [3],
        added_cond_kwargs={name: value[one] for name, value in question.added.items()},
        return_dict=False,
    )
    assert found.mid is not None
    for ours, other in zip((*found.skips, found.mid), (*skips, mid), strict=True):
        assert (ours[one] - other).abs().max() < 1e-4


@pytest.mark.parametrize(
    ("sample", "kind", "base"),
    [
        ("t2i-adapter", "full", "sd15"),
        ("t2i-adapter-grey", "full", "sd15"),
        ("t2i-adapter-light", "light", "sd15"),
        ("t2i-adapter-sdxl", "xl", "sdxl"),
    ],
)
@torch.no_grad()
def test_a_t2i_adapter_is_its_reference_and_diffusers(
    sample: str, kind: str, base: str, unets: dict[str, UNet2DConditionModel], tmp_path: Path
) -> None:
    weights, question = weights_of(sample), question_for(base)
    grey = sample.endswith("grey")
    net = loaded(tmp_path, weights, unets[base])
    shown = pictures(side=128)
    grey_shown = (shown * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)
    read = grey_shown if grey else shown
    found = net(question, net.embed(shown))
    wanted = plain.t2i_adapter(weights, read, kind=kind)
    theirs = T2IAdapter(**t2i_config(kind, "small", grey=grey)).eval()
    by_their_name = {t2i_authors_name(name, kind): name for name in theirs.state_dict()}
    theirs.load_state_dict({by_their_name[name]: tensor for name, tensor in weights.items()})
    assert len(found.blocks) == len(wanted) == 4
    for ours, one, other in zip(found.blocks, wanted, theirs(read), strict=True):
        assert one.abs().max() > 1e-3
        assert (ours - one.repeat(2, 1, 1, 1)).abs().max() < 1e-4
        assert (ours - other.repeat(2, 1, 1, 1)).abs().max() < 1e-4


@torch.no_grad()
def test_a_difference_net_is_completed_with_the_image_models_weights(
    unets: dict[str, UNet2DConditionModel], tmp_path: Path
) -> None:
    stored, unet = weights_of("control-difference"), unets["sd15"]
    net: Any = loaded(tmp_path, stored, unet)
    base = unet.state_dict()
    for name, tensor in net.net.state_dict().items():
        change = stored[ldm_control_name(name, set(base))]
        assert torch.allclose(tensor, base[name] + change if name in base else change, atol=1e-6)


@torch.no_grad()
def test_a_control_lora_is_the_image_models_weights_and_a_product(
    unets: dict[str, UNet2DConditionModel], tmp_path: Path
) -> None:
    stored, unet = weights_of("control-lora"), unets["sdxl"]
    net: Any = loaded(tmp_path, stored, unet)
    base, products = unet.state_dict(), 0
    for name, tensor in net.net.state_dict().items():
        theirs = ldm_control_name(name, set(base), prefix="")
        stem = theirs.removesuffix(".weight")
        if f"{stem}.up" in stored and name.endswith(".weight"):
            up, down = stored[f"{stem}.up"].flatten(1), stored[f"{stem}.down"].flatten(1)
            wanted = base[name] + (up @ down).reshape(tensor.shape)
            products += 1
        else:
            wanted = stored[theirs]
        assert torch.allclose(tensor, wanted.reshape(tensor.shape), atol=1e-5)
    assert products > 50
    question = question_for("sdxl")
    found = net(question, net.embed(pictures()))
    assert len(found.skips) == 9


@pytest.mark.parametrize("base", ["sd15", "sd2", "sdxl"])
def test_a_single_file_and_a_folder_hold_the_same_tensors(
    base: str, unets: dict[str, UNet2DConditionModel], tmp_path: Path
) -> None:
    sample = "controlnet" if base == "sd15" else f"controlnet-{base}"
    weights = weights_of(sample)
    names = set(unets[base].state_dict())
    from_folder: Any = loaded(tmp_path, weights, unets[base])
    renamed = {ldm_control_name(name, names): tensor for name, tensor in weights.items()}
    from_file: Any = loaded(tmp_path, renamed, unets[base])
    theirs = from_file.net.state_dict()
    assert theirs.keys() == from_folder.net.state_dict().keys()
    for name, tensor in from_folder.net.state_dict().items():
        assert torch.equal(tensor, theirs[name])
        assert torch.equal(tensor, weights[name])


def test_a_t2i_adapter_in_either_layout_holds_the_same_tensors(
    unets: dict[str, UNet2DConditionModel], tmp_path: Path
) -> None:
    for sample, kind in (
        ("t2i-adapter-diffusers", "full"),
        ("t2i-adapter-light-diffusers", "light"),
    ):
        weights = weights_of(sample)
        one: Any = loaded(tmp_path, weights, unets["sd15"])
        renamed = {t2i_authors_name(name, kind): tensor for name, tensor in weights.items()}
        two: Any = loaded(tmp_path, renamed, unets["sd15"])
        for name, tensor in one.net.state_dict().items():
            assert torch.equal(tensor, two.net.state_dict()[name])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_every_precision_of_a_file_is_read(
    dtype: torch.dtype, unets: dict[str, UNet2DConditionModel], tmp_path: Path
) -> None:
    weights = {name: tensor.to(dtype) for name, tensor in weights_of("controlnet-ldm-bare").items()}
    net: Any = loaded(tmp_path, weights, unets["sd15"])
    assert net.net.dtype == torch.float32
    assert torch.equal(net.net.conv_in.weight, weights["input_blocks.0.0.weight"].float())


def test_a_net_for_latents_of_more_channels_is_read(tmp_path: Path) -> None:
    """The built-in image model's latents have 12."""
    unet = UNet2DConditionModel(**small_config("sd15") | {"in_channels": 12, "out_channels": 12})
    net = ControlNetModel.from_unet(unet)
    found: Any = loaded(tmp_path, net.state_dict(), unet)
    assert found.net.conv_in.weight.shape[1] == 12
