"""Every published kind of file is recognised by its names and shapes, whatever it is called."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tests.weights import synthetic
from tests.weights.synthetic import SAMPLES, Sample

from animatediff.apps.commands.animate import AnimateOptions
from animatediff.apps.options.declared import all_options
from animatediff.errors import FileError
from animatediff.weights.families import FAMILIES
from animatediff.weights.finding.builtin import BUILTIN
from animatediff.weights.inspect import Inspection, inspect, inspect_header
from animatediff.weights.inspection.kinds import KINDS
from animatediff.weights.inspection.motion_rules import MOTION_RULES
from animatediff.weights.inspection.name_rules import RULES
from animatediff.weights.storage.files import Header

WRAPPED = (
    *("motion-v3", "motion-lora-v2", "sparse-rgb", "ip-adapter", "embedding-a1111-pickle"),
    "vae-ldm",
)
"""One of each way in which pickles hold their table."""
NARROW = (
    *("sd15", "sd2", "sdxl", "unet-sdxl", "text-sd2", "vae-ldm", "motion-v1", "motion-v2"),
    *("motion-v3-diffusers", "motion-sdxl", "motion-lcm", "motion-hotshot", "motion-trained"),
    *("domain-adapter", "motion-lora-v2", "lora-sdxl-sgm", "locon", "lokr", "lora-peft"),
)


def facts(found: Inspection) -> tuple[object, ...]:
    return (
        *(found.kind, found.family, found.version, found.layout, found.base),
        *(found.also, found.ranks),
    )


def truth(sample: Sample) -> tuple[object, ...]:
    return (
        *(sample.kind, sample.family, sample.version, sample.layout, sample.base),
        *(sample.also, () if sample.rank is None else (sample.rank,)),
    )


@pytest.mark.parametrize("name", SAMPLES)
def test_a_published_file_is_recognised(name: str, tmp_path: Path) -> None:
    found = inspect(synthetic.write_sparse(tmp_path / "x.safetensors", name))
    assert facts(found) == truth(SAMPLES[name])
    assert found.reasons
    assert found.num_tensors == len(synthetic.shapes_of(name))
    assert set(found.dtypes) <= {SAMPLES[name].dtype, "I64"}


@pytest.mark.parametrize(
    "path",
    # The scorer judges animations and is no part of any.
    sorted(set(BUILTIN.glob("*/*.safetensors")) - set(BUILTIN.glob("scorer/*"))),
    ids=lambda path: path.parent.name,
)
def test_a_part_of_the_built_in_world_is_what_its_folder_says(path: Path) -> None:
    found = inspect(path)
    kind, family = path.parent.name, "emoji"
    if kind == "control":  # without attention, so that nothing says which image model it is for
        kind, family = "sparse-control" if path.stem == "pictures" else "controlnet", ""
    if kind == "upscaler":  # for pictures of any model
        family = ""
    assert (found.kind, found.family, found.alternatives) == (kind, family, ())


@pytest.mark.parametrize("name", NARROW)
def test_a_narrower_model_is_recognised_as_well(name: str, tmp_path: Path) -> None:
    found = inspect(synthetic.write_sparse(tmp_path / "x.safetensors", name, size="small"))
    assert facts(found) == truth(SAMPLES[name])


@pytest.mark.parametrize("old", [False, True], ids=["zip", "old"])
@pytest.mark.parametrize("name", WRAPPED)
def test_a_pickle_is_recognised_as_its_safetensors_copy(
    name: str, old: bool, tmp_path: Path
) -> None:
    found = inspect(synthetic.write_pickle(tmp_path / "x.safetensors", name, old=old))
    assert found.container == "pickle"
    assert facts(found) == truth(SAMPLES[name])
    twin = inspect(synthetic.write(tmp_path / "y.ckpt", name))
    assert (found.parameters, found.dtypes) == (twin.parameters, twin.dtypes)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("motion-v1", 417_137_600),
        ("motion-v2", 453_209_280),
        ("motion-v3", 417_137_600),
        ("motion-sdxl", 236_779_200),
        ("motion-lcm", 453_209_280),
        ("motion-hotshot", 236_779_200),
        ("domain-adapter", 25_509_888),
        ("motion-lora-v2", 19_333_120),
    ],
)
def test_learned_numbers_are_counted_as_published(
    name: str, parameters: int, tmp_path: Path
) -> None:
    found = inspect(synthetic.write_sparse(tmp_path / "x", name))
    assert found.parameters == parameters


def test_what_cannot_be_told_apart_is_said(tmp_path: Path) -> None:
    found = inspect(synthetic.write_sparse(tmp_path / "x", "motion-lightning"))
    assert found.family == "v2"
    assert "lightning-4step" in found.also
    assert "AnimateDiff-Lightning" in found.title
    assert any("--family" in warning for warning in found.warnings)


def test_a_v2_module_without_its_positions_may_be_animatelcm(tmp_path: Path) -> None:
    shapes = {k: s for k, s in synthetic.shapes_of("motion-v2").items() if "pos_encoder" not in k}
    found = inspect_header(Header(tmp_path, shapes, {}))
    assert (found.family, found.also) == ("animatelcm", ("v2",))


def test_a_module_that_hardly_counts_is_still_named(tmp_path: Path) -> None:
    shapes = {k: s for k, s in synthetic.shapes_of("motion-v3").items() if "down_blocks.0" in k}
    found = inspect_header(Header(tmp_path, shapes, {}))
    assert (found.kind, found.base, found.family) == ("motion", "own", "")
    assert any("--family" in warning for warning in found.warnings)


@pytest.mark.parametrize("prefix", ["module.", "state_dict.", "state_dict.module."])
def test_what_programs_put_before_every_name_says_nothing(prefix: str, tmp_path: Path) -> None:
    shapes = {f"{prefix}{k}": s for k, s in synthetic.shapes_of("motion-v1").items()}
    assert inspect_header(Header(tmp_path, shapes, {})).family == "v1"


def test_an_adapter_in_a_trainers_names_may_be_a_lora_too(tmp_path: Path) -> None:
    kohya = inspect(synthetic.write_sparse(tmp_path / "x", "domain-adapter-kohya"))
    assert (kohya.kind, kohya.alternatives) == ("adapter", ("lora",))
    lora = inspect(synthetic.write_sparse(tmp_path / "y", "lora-peft"))
    assert (lora.kind, lora.alternatives) == ("lora", ("adapter",))
    sure = inspect(synthetic.write_sparse(tmp_path / "z", "domain-adapter"))
    assert sure.alternatives == ()


def test_our_own_metadata_name_the_family(tmp_path: Path) -> None:
    facts = {"family": "emoji", "branch": "conv", "mid": "false"}
    header = Header(tmp_path, {"down_0_0.transformer_blocks.0.conv_blocks.0.x": (3,)}, facts)
    found = inspect_header(header)
    assert (found.kind, found.family, found.version, found.base) == (
        "motion",
        "emoji",
        "conv",
        "own",
    )


@pytest.mark.parametrize("base", ["sd15", "sd2", "sdxl"])
def test_a_folder_of_an_image_model_is_recognised(base: str, tmp_path: Path) -> None:
    folder = synthetic.write_folder(tmp_path / "model", base, size="real", fp16=base == "sdxl")
    found = inspect(folder)
    assert (found.container, found.kind, found.family) == ("folder", "checkpoint", base)
    assert found.num_tensors > len(synthetic.shapes_of(f"unet-{base}"))


def test_a_folder_whose_parts_are_swapped_is_refused(tmp_path: Path) -> None:
    folder = synthetic.write_folder(tmp_path / "model", "sd15", size="real")
    unet, vae = (folder / p / "diffusion_pytorch_model.safetensors" for p in ("unet", "vae"))
    unet.replace(tmp_path / "unet")
    vae.replace(unet)
    (tmp_path / "unet").replace(vae)
    with pytest.raises(FileError, match=r"autoencoder \(VAE\), where the U-Net .* belongs"):
        inspect(folder)


def test_a_folder_that_names_a_program_of_its_own_warns(tmp_path: Path) -> None:
    folder = synthetic.write_folder(tmp_path / "model", "sd15", size="real")
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | {"custom_pipeline": "evil"}))
    assert any("not run" in warning for warning in inspect(folder).warnings)


@pytest.mark.parametrize(("name", "family"), [("motion-v1", "v1"), ("motion-v3", "v3")])
def test_a_motion_adapters_configuration_tells_what_its_tensors_do_not(
    name: str, family: str, tmp_path: Path
) -> None:
    folder = synthetic.write_adapter_folder(tmp_path / "a", f"{name}-diffusers")
    tensors = synthetic.tensors(f"{name}-diffusers")
    kept = {key: tensor for key, tensor in tensors.items() if "pos_embed" not in key}
    save_file(kept, folder / "diffusion_pytorch_model.safetensors")
    alone = inspect(folder / "diffusion_pytorch_model.safetensors")
    assert (alone.family, alone.also) == ("v3", ("v1",))
    assert (inspect(folder).family, inspect(folder).also) == (family, ())


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("double_blocks.0.img_attn.qkv.weight", "flux"),
        ("model.diffusion_model.joint_blocks.3.x_block.attn.qkv.weight", "sd3"),
        ("head.modulation", "wan"),
        ("unet.down_blocks.0.temp_attentions.0.norm.weight", "modelscope"),
    ],
)
def test_models_of_other_projects_are_named(name: str, family: str, tmp_path: Path) -> None:
    found = inspect_header(Header(tmp_path, {name: (4, 4)}, {}))
    assert (found.kind, found.family) == ("other", family)
    assert family in found.title


@pytest.mark.parametrize(("first", "second"), [((4, 4), (80, 192)), ((16, 16), (20, 48))])
def test_a_kronecker_product_is_as_wide_as_its_factors(
    first: tuple[int, int], second: tuple[int, int], tmp_path: Path
) -> None:
    stem = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k"
    shapes = {f"{stem}.lokr_w1": first, f"{stem}.lokr_w2": second}
    assert inspect_header(Header(tmp_path, shapes, {})).base == "sd15"


def test_an_unknown_file_is_said_to_be_unknown(tmp_path: Path) -> None:
    save_file({"a.weight": torch.zeros(3)}, tmp_path / "x.safetensors")
    found = inspect(tmp_path / "x.safetensors")
    assert found.kind == "unknown"
    assert found.reasons == ("none of the names in it is known",)


def test_seven_gigabytes_are_looked_at_without_reading_them(tmp_path: Path) -> None:
    path = synthetic.write_sparse(tmp_path / "x", "sdxl")
    assert path.stat().st_size > 6_900_000_000
    tracemalloc.start()
    try:
        inspect(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 16 << 20


def test_every_option_that_is_recommended_exists() -> None:
    known = {row.flag.removeprefix("--") for row in all_options(AnimateOptions)}
    known |= {name.removesuffix("s") for name in known}
    named = {facts.option.removeprefix("--") for facts in KINDS.values() if facts.option}
    assert named <= known


def test_every_rule_names_a_kind_and_every_family_that_is_known() -> None:
    assert {rule.kind for rule in RULES} <= KINDS.keys()
    families = {name for rule in MOTION_RULES for name in (rule.family, *rule.also)}
    assert families - {"fancyvideo"} <= FAMILIES.keys()
    assert FAMILIES.keys() - {"emoji"} <= families
