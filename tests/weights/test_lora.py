"""LoRAs from files: every flavour in its published names, found, counted, checked and applied."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import pytest
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from safetensors.torch import save_file
from tests.cases import loras_of_a_flavour_nobody_knows
from tests.weights import synthetic
from torch import Tensor, nn
from transformers.models.clip.configuration_clip import CLIPTextConfig
from transformers.models.clip.modeling_clip import CLIPTextModel, CLIPTextModelWithProjection

from animatediff.errors import FileError
from animatediff.model.grafts.merging import exchanged, merged
from animatediff.model.without_values import without_values
from animatediff.weights.inspect import inspect
from animatediff.weights.lora import LoadedLora, fit_lora, read_lora
from animatediff.weights.names.lora import layer_names

CPU = torch.device("cpu")
SAMPLES = (
    "lora-sd15",
    "lora-sd2",
    "lora-sdxl",
    "lora-sdxl-sgm",
    "locon",
    "loha",
    "lokr",
    "dora",
    "oft",
    "oft-diag",
    "oft-kohya",
    "oft-peft",
    "oft-onetrainer",
    "glora",
    "ia3",
    "full-diff",
    "lora-peft",
    "lora-peft-raw",
    "lora-peft-named",
    "lora-comfy",
    "lora-comfy-sdxl",
    "lora-lycoris",
    "lora-diffusers",
    "lora-diffusers-old",
    "lora-lcm",
    "lora-ours",
    "domain-adapter",
    "domain-adapter-diffusers",
    "domain-adapter-kohya",
)


@functools.cache
def networks(base: str, size: synthetic.Size = "small") -> dict[str, nn.Module]:
    """The parts of an image model that LoRAs change, without numbers."""
    with without_values():
        parts: dict[str, nn.Module] = {
            "unet": UNet2DConditionModel(**synthetic.unet_config(base, size))
        }
        first = synthetic.text_config("sd15" if base == "sdxl" else base, size)
        parts["text_encoder"] = CLIPTextModel(CLIPTextConfig(**first))
        if base == "sdxl":
            second = CLIPTextConfig(**synthetic.text_config("sdxl-2", size))
            parts["text_encoder_2"] = CLIPTextModelWithProjection(second)
    return parts


def layers_of(name: str, size: synthetic.Size = "small") -> int:
    """How many layers a sample is for, counted by one piece that every layer has once."""
    marks = ("lora_up.weight", "lora.up.weight", "_lora.up.weight", "lora_B.weight", ".up.weight")
    marks = (
        *marks,
        "hada_w1_a",
        "lokr_w1",
        "oft_blocks",
        "oft_diag",
        "oft_R.weight",
        "a2.weight",
        "on_input",
        ".diff",
    )
    marks = (*marks, ".diff_b") if name.startswith("lora-comfy") else marks
    return sum(
        key.replace(".mystyle", "").endswith(marks) for key in synthetic.shapes_of(name, size)
    )


@pytest.mark.parametrize("name", SAMPLES)
def test_every_flavour_finds_all_its_layers_at_real_size(name: str, tmp_path: Path) -> None:
    path = synthetic.write_sparse(tmp_path / "style.safetensors", name)
    plan = fit_lora(read_lora(path), networks(synthetic.SAMPLES[name].base, "real"))
    assert plan.absent == ()
    wanted = layers_of(name, "real")
    assert plan.coverage == f"{wanted}/{wanted} modules"


@pytest.fixture(scope="module")
def small() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    config = CLIPTextConfig(**synthetic.text_config("sd15", "small"))
    unet = UNet2DConditionModel(**synthetic.unet_config("sd15", "small"))
    return {"unet": unet, "text_encoder": CLIPTextModel(config)}


LAYER = "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k"
STEM = "lora_unet_" + LAYER.replace(".", "_")


def load(path: Path, small: dict[str, nn.Module]) -> LoadedLora:
    return fit_lora(read_lora(path), small).load(device=CPU)


def change_of(path: Path, small: dict[str, nn.Module], *, scale: float) -> tuple[Tensor, Tensor]:
    """The weight of one layer, and what a file adds to it."""
    layer = small["unet"].get_submodule(LAYER)
    style = load(path, small)
    own = layer.weight.detach().clone()
    with exchanged(merged([(style.changes, scale)])):
        moved = layer.weight.detach().clone()
    assert torch.equal(layer.weight, own)
    return own, moved - own


def skew_of(numbers: Tensor, size: int) -> Tensor:
    """The skew-symmetric matrix whose upper triangle is given row by row."""
    matrix, remaining = torch.zeros(size, size, dtype=torch.float64), iter(numbers.tolist())
    for i in range(size):
        for j in range(i + 1, size):
            matrix[i, j] = next(remaining)
            matrix[j, i] = -matrix[i, j]
    return matrix


def by_series(skew: Tensor) -> Tensor:
    """PEFT's rotation of five terms."""
    powers = [torch.linalg.matrix_power(skew, n) for n in range(5)]
    return powers[0] + 2 * powers[1] + 2 * powers[2] + 2 * powers[3] + powers[4]


@pytest.mark.parametrize(
    "name",
    [
        "lora-sd15",
        "loha",
        "lokr",
        "dora",
        "oft",
        "oft-diag",
        "oft-kohya",
        "oft-peft",
        "oft-onetrainer",
        "glora",
        "ia3",
        "full-diff",
        "lora-peft",
        "lora-peft-named",
        "lora-diffusers-old",
    ],
)
def test_the_numbers_of_a_file_are_those_of_its_formula(
    name: str, tmp_path: Path, small: dict[str, nn.Module]
) -> None:
    path = synthetic.write(tmp_path / "style.safetensors", name)
    w = {key: tensor.double() for key, tensor in synthetic.tensors(name).items()}
    own, found = change_of(path, small, scale=0.8)
    base = own.double()

    def low_rank(rank: int) -> Tensor:
        product = w[f"{STEM}.lora_up.weight"] @ w[f"{STEM}.lora_down.weight"]
        return product * w[f"{STEM}.alpha"] / rank

    match name:
        case "lora-sd15":
            wanted = low_rank(16)
        case "loha":
            one, two = (w[f"{STEM}.hada_w{i}_a"] @ w[f"{STEM}.hada_w{i}_b"] for i in (1, 2))
            wanted = one * two * w[f"{STEM}.alpha"] / 8
        case "lokr":
            right = w[f"{STEM}.lokr_w2_a"] @ w[f"{STEM}.lokr_w2_b"] * w[f"{STEM}.alpha"] / 8
            wanted = torch.kron(w[f"{STEM}.lokr_w1"], right)
        case "dora":
            moved = base + low_rank(16)
            lengths = (moved**2).sum(dim=1, keepdim=True).sqrt()
            wanted = w[f"{STEM}.dora_scale"] * moved / lengths - base
        case "oft-diag":  # R is in the file, and its transpose turns the outputs of each block
            turns = [rotation.T for rotation in w[f"{STEM}.oft_diag"]]
            wanted = torch.block_diag(*turns) @ base - base
        case "oft" | "oft-kohya":
            stem = STEM.replace("lora_unet", "oft_unet") if name == "oft-kohya" else STEM
            w |= {f"{STEM}.{piece}": w[f"{stem}.{piece}"] for piece in ("oft_blocks", "alpha")}
            blocks, eye = w[f"{STEM}.oft_blocks"], torch.eye(8, dtype=torch.float64)
            skew = blocks - blocks.transpose(1, 2)
            bound = float(w[f"{STEM}.alpha"]) * len(base)
            if 0 < bound < float(skew.norm()):
                skew = skew * bound / float(skew.norm())
            turns = [((eye + q) @ (eye - q).inverse()).T for q in skew]
            wanted = torch.block_diag(*turns) @ base - base
        case "oft-peft" | "oft-onetrainer":
            own_name = f"base_model.model.{LAYER}" if name == "oft-peft" else STEM
            turns = [by_series(skew_of(row, 8)) for row in w[f"{own_name}.oft_R.weight"]]
            wanted = base @ torch.block_diag(*turns).T - base
        case "glora":
            a1, a2, b1, b2 = (w[f"{STEM}.{piece}.weight"] for piece in ("a1", "a2", "b1", "b2"))
            wanted = (base @ a2 @ a1 + b2 @ b1) * w[f"{STEM}.alpha"] / 4
        case "ia3":
            wanted = base * w[f"{STEM}.weight"]
        case "full-diff":
            wanted = w[f"{STEM}.diff"]
        case "lora-peft-named":
            start = f"base_model.model.{LAYER}"
            wanted = w[f"{start}.lora_B.mystyle.weight"] @ w[f"{start}.lora_A.mystyle.weight"]
        case "lora-peft":
            wanted = w[f"unet.{LAYER}.lora_B.weight"] @ w[f"unet.{LAYER}.lora_A.weight"]
        case _:
            start = f"unet.{LAYER.replace('.to_k', '.processor.to_k_lora')}"
            wanted = w[f"{start}.up.weight"] @ w[f"{start}.down.weight"]
    assert (found - 0.8 * wanted).abs().max() < 1e-6


def test_a_locon_changes_convolutions_and_text_layers_too(
    tmp_path: Path, small: dict[str, nn.Module]
) -> None:
    path = synthetic.write(tmp_path / "style.safetensors", "locon")
    style = load(path, small)
    changed = {id(change.layer) for change in style.changes}
    for network, layer in (
        ("unet", "down_blocks.0.resnets.0.conv1"),
        ("unet", "mid_block.attentions.0.proj_in"),
        ("text_encoder", "encoder.layers.1.mlp.fc2"),
    ):
        assert id(small[network].get_submodule(layer)) in changed
    conv = small["unet"].get_submodule("down_blocks.0.resnets.0.conv1")
    own = conv.weight.detach().clone()
    stem = "lora_unet_down_blocks_0_resnets_0_conv1"
    w = synthetic.tensors("locon")
    with exchanged(merged([(style.changes, 1.0)])):
        found = conv.weight.detach() - own
    down, up = (w[f"{stem}.lora_{part}.weight"].double() for part in ("down", "up"))
    wanted = torch.einsum("orxy,rikl->oikl", up, down) * w[f"{stem}.alpha"].double() / 16
    assert (found - wanted).abs().max() < 1e-6


def test_styles_change_there_and_back_bit_for_bit(
    tmp_path: Path, small: dict[str, nn.Module]
) -> None:
    one = load(synthetic.write(tmp_path / "a.safetensors", "lora-sd15"), small)
    two = load(synthetic.write(tmp_path / "b.safetensors", "dora"), small)
    before = {name: t.clone() for name, t in small["unet"].state_dict().items()}

    def merged_with(style: LoadedLora, scale: float) -> dict[str, Tensor]:
        with exchanged(merged([(style.changes, scale)])):
            return {name: t.clone() for name, t in small["unet"].state_dict().items()}

    first = merged_with(one, 0.7)
    merged_with(two, 1.0)
    merged_with(one, -0.3)
    again = merged_with(one, 0.7)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert all(torch.equal(t, before[name]) for name, t in small["unet"].state_dict().items())


def test_a_missing_alpha_means_the_rank_and_peft_may_say_it_elsewhere(
    tmp_path: Path, small: dict[str, nn.Module]
) -> None:
    weights = synthetic.tensors("lora-peft")
    _, plain = change_of(synthetic.write(tmp_path / "a.safetensors", "lora-peft"), small, scale=1.0)
    said = json.dumps({"unet.r": 4, "unet.lora_alpha": 2})
    save_file(weights, tmp_path / "b.safetensors", metadata={"lora_adapter_metadata": said})
    _, half = change_of(tmp_path / "b.safetensors", small, scale=1.0)
    assert torch.allclose(2 * half, plain, atol=1e-6)
    save_file(weights, tmp_path / "adapter_model.safetensors")
    config = {"r": 4, "lora_alpha": 8, "use_rslora": True}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    _, stable = change_of(tmp_path / "adapter_model.safetensors", small, scale=1.0)
    assert torch.allclose(stable, plain * 8 / 2, atol=1e-5)


def test_what_the_model_lacks_is_counted_and_named(
    tmp_path: Path, small: dict[str, nn.Module]
) -> None:
    weights = synthetic.tensors("lora-sd15")
    extra = {f"lora_unet_other.lora_{part}.weight": torch.ones(1, 1) for part in ("down", "up")}
    save_file(weights | extra, tmp_path / "style.safetensors")
    style = load(tmp_path / "style.safetensors", small)
    count = layers_of("lora-sd15")
    assert style.coverage == f"{count}/{count + 1} modules"
    assert style.absent == ("lora_unet_other",)


@pytest.mark.parametrize(
    ("sample", "sentence"),
    [
        ("motion-lora-v2", "give it to --motion-lora"),
        ("lora-sdxl", r"for SDXL.* does not fit a weight of"),
        ("sd15", "give it to --model"),
        ("motion-v3", "give it to --motion"),
        ("vae", "is an autoencoder"),
        ("controlnet", "is a ControlNet"),
        ("embedding-a1111", "is a textual inversion"),
    ],
)
def test_what_is_no_lora_for_this_model_is_refused_in_one_sentence(
    sample: str, sentence: str, tmp_path: Path
) -> None:
    path = synthetic.write_sparse(tmp_path / "x.safetensors", sample)
    with pytest.raises(FileError, match=sentence) as refused:
        fit_lora(read_lora(path), networks("sd15", "real"))
    assert "\n" not in str(refused.value)


def test_sgm_names_mean_the_layers_that_diffusers_names_do(tmp_path: Path) -> None:
    """``input_blocks_4_1`` of SDXL's single file is ``down_blocks.1.attentions.0``."""
    torch.manual_seed(0)
    unet = UNet2DConditionModel(**synthetic.unet_config("sdxl", "small"))
    weights = synthetic.tensors("lora-sdxl-sgm")
    path = synthetic.write(tmp_path / "style.safetensors", "lora-sdxl-sgm")
    parts = {**networks("sdxl"), "unet": unet}
    style = fit_lora(read_lora(path), parts)
    for theirs, ours in (
        ("input_blocks_4_1", "down_blocks.1.attentions.0"),
        ("middle_block_1", "mid_block.attentions.0"),
        ("output_blocks_3_1", "up_blocks.1.attentions.0"),
    ):
        stem = f"lora_unet_{theirs}_transformer_blocks_0_attn2_to_k"
        layer = unet.get_submodule(f"{ours}.transformer_blocks.0.attn2.to_k")
        assert style.places[stem] is layer
        down, up, alpha = (
            weights[f"{stem}.{piece}"].double()
            for piece in ("lora_down.weight", "lora_up.weight", "alpha")
        )
        own = layer.weight.detach().clone()
        changes = style.load(device=CPU).changes
        with exchanged(merged([([c for c in changes if c.layer is layer], 0.8)])):
            found = layer.weight.detach() - own
        assert (found - 0.8 * (up @ down) * alpha / len(down)).abs().max() < 1e-6


def test_a_file_of_which_the_model_has_nothing_is_an_error(
    tmp_path: Path, small: dict[str, nn.Module]
) -> None:
    renamed = {
        key.replace("lora_unet_", "lora_unet_other_"): tensor
        for key, tensor in synthetic.tensors("lora-sd15").items()
        if key.startswith("lora_unet_")
    }
    save_file(renamed, tmp_path / "style.safetensors")
    count = len(read_lora(tmp_path / "style.safetensors").layers)
    with pytest.raises(FileError, match=f"changes nothing here: .* 0 of its {count} modules"):
        fit_lora(read_lora(tmp_path / "style.safetensors"), small)


def test_pieces_that_make_no_change_are_refused(
    tmp_path: Path, small: dict[str, nn.Module]
) -> None:
    save_file({f"{STEM}.lora_down.weight": torch.ones(2, 768)}, tmp_path / "half.safetensors")
    with pytest.raises(FileError, match="which together are no change"):
        load(tmp_path / "half.safetensors", small)
    bad = {f"{STEM}.lora_down.weight": torch.full((2, 768), float("nan"))}
    bad[f"{STEM}.lora_up.weight"] = torch.ones(64, 2)
    save_file(bad, tmp_path / "nan.safetensors")
    with pytest.raises(FileError, match="NaN or infinity"):
        load(tmp_path / "nan.safetensors", small)


@pytest.mark.parametrize("base", ["sd15", "sdxl"])
def test_no_name_means_two_layers(base: str) -> None:
    names = layer_names(networks(base, "real"))
    unet = [name for name in names if name.startswith("lora_unet_")]
    ldm = [name for name in unet if "put_blocks" in name]
    assert len({names[name] for name in ldm}) == len(ldm)


def test_rotations_that_are_orthogonal_keep_the_lengths_of_columns(
    tmp_path: Path, small: dict[str, nn.Module]
) -> None:
    """Cayley's transform of a skew matrix is a rotation, so W and R W have equal Gram matrices."""
    w = synthetic.tensors("oft")
    blocks = w[f"{STEM}.oft_blocks"].double()
    skew, eye = blocks - blocks.mT, torch.eye(blocks.shape[-1], dtype=torch.float64)
    rotations = torch.linalg.solve(eye - skew, eye + skew)  # these commute
    path = tmp_path / "a.safetensors"
    save_file(
        {f"{STEM}.oft_diag": rotations.float().contiguous(), f"{STEM}.alpha": torch.ones(())}, path
    )
    own, change = change_of(path, small, scale=1.0)
    assert change.abs().max() > 1e-3
    moved = own + change
    assert torch.allclose(moved.T @ moved, own.T @ own, atol=1e-4)
    save_file({f"{STEM}.oft_blocks": blocks.float().contiguous()}, path)
    _, by_blocks = change_of(path, small, scale=1.0)
    assert torch.allclose(by_blocks, change, atol=1e-5)


def test_coverage_counts_modules_whose_change_is_computed(
    tmp_path: Path, small: dict[str, nn.Module]
) -> None:
    """A module of which only alpha is known was counted, and nothing of it changed."""
    path = loras_of_a_flavour_nobody_knows.write(tmp_path / "a.safetensors", STEM, known=False)
    with pytest.raises(FileError, match="is not a LoRA"):
        read_lora(path)
    assert inspect(path).kind == "unknown"
    path = loras_of_a_flavour_nobody_knows.write(tmp_path / "b.safetensors", STEM, known=True)
    style = load(path, small)
    assert style.coverage == "1/2 modules"
    assert any("of no supported flavour" in note for note in style.notes)


def test_a_file_of_two_adapters_is_refused(tmp_path: Path) -> None:
    weights = synthetic.tensors("lora-peft-named")
    weights |= {key.replace("mystyle", "other"): tensor.clone() for key, tensor in weights.items()}
    save_file(weights, tmp_path / "a.safetensors")
    with pytest.raises(FileError, match="holds 2 adapters, mystyle and other"):
        read_lora(tmp_path / "a.safetensors")
    assert "holds 2 adapters" in inspect(tmp_path / "a.safetensors").refusal


@pytest.mark.parametrize("said", ["nothing", "exact", "old", "seven"])
def test_rotations_of_inputs_are_computed_as_their_configuration_says(
    said: str, tmp_path: Path, small: dict[str, nn.Module]
) -> None:
    """PEFT rotates what a layer reads: its output for x is the layer's output for x·R."""
    numbers = torch.randn(768 // 8, 28, generator=torch.Generator().manual_seed(0)) * 0.1
    path = tmp_path / "adapter_model.safetensors"
    save_file({f"base_model.model.unet.{LAYER}.oft_R.weight": numbers}, path)
    config: dict[str, object] = {"peft_type": "OFT", "oft_block_size": 8}
    config |= {"exact": {"use_cayley_neumann": False}}.get(said, {})
    config |= {"seven": {"use_cayley_neumann": True, "num_cayley_neumann_terms": 7}}.get(said, {})
    if said != "nothing":
        (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    own, change = change_of(path, small, scale=1.0)
    eye, rotations = torch.eye(8, dtype=torch.float64), list[Tensor]()
    for row in numbers.double():
        skew = skew_of(row, 8)
        if said in ("exact", "old"):
            rotations.append((eye - skew) @ (eye + skew).inverse())
        elif said == "seven":
            powers = [torch.linalg.matrix_power(skew, n) for n in range(7)]
            rotations.append(powers[0] + 2 * sum(powers[1:6], torch.zeros(())) + powers[6])
        else:
            rotations.append(by_series(skew))
    x = torch.randn(3, 768, dtype=torch.float64)
    wanted = x @ torch.block_diag(*rotations) @ own.double().T
    assert (x @ (own + change).double().T - wanted).abs().max() < 1e-4
    assert change.abs().max() > 1e-3


def test_rotations_of_inputs_of_convolutions_and_shared_blocks(
    tmp_path: Path, small: dict[str, nn.Module]
) -> None:
    """PEFT turns the unfolded pictures, OneTrainer the kernels, so that one is the other's inverse."""
    place = "down_blocks.0.resnets.0.conv1"
    conv = small["unet"].get_submodule(place)
    assert isinstance(conv, nn.Conv2d)
    numbers = torch.randn(1, 36, generator=torch.Generator().manual_seed(0)) * 0.1
    rotation = torch.block_diag(*[by_series(skew_of(numbers[0].double(), 9))] * conv.in_channels)
    wanted = conv.weight.double().flatten(1)
    for stem, turned in (
        (f"base_model.model.{place}.oft_R.mystyle.weight", wanted @ rotation.T),
        (f"lora_unet_{place.replace('.', '_')}.oft_R.weight", wanted @ rotation),
    ):
        save_file({stem: numbers}, tmp_path / "style.safetensors")
        with exchanged(merged([(load(tmp_path / "style.safetensors", small).changes, 1.0)])):
            assert (conv.weight.double().flatten(1) - turned).abs().max() < 1e-6


@pytest.mark.parametrize(
    ("pieces", "sentence"),
    [
        ({"weight": (96, 27)}, "holds no triangles"),
        ({"weight": (95, 28)}, "95 blocks of 8 for 768 inputs"),
        ({"weight": (96, 28), "scaled_oft": ()}, "is a scaled OFT, whose factor differs"),
    ],
)
def test_rotations_that_cannot_be_known_are_refused(
    pieces: dict[str, tuple[int, ...]],
    sentence: str,
    tmp_path: Path,
    small: dict[str, nn.Module],
) -> None:
    path = tmp_path / "style.safetensors"
    save_file({f"{STEM}.oft_R.{piece}": torch.ones(shape) for piece, shape in pieces.items()}, path)
    with pytest.raises(FileError, match=sentence):
        load(path, small)
