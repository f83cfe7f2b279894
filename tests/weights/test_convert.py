"""Converting: no tensor lost, none invented, and back again bit for bit."""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers.models.unets.unet_motion_model import MotionAdapter
from safetensors import safe_open
from safetensors.torch import load_file
from tests.weights import synthetic
from torch import Tensor

from animatediff.apps.cli import main
from animatediff.errors import FileError, InputError, OutputError
from animatediff.weights.adapters import read_adapter, read_motion_lora
from animatediff.weights.convert import TargetLayout, convert
from animatediff.weights.inspect import inspect
from animatediff.weights.motion import read_motion
from animatediff.weights.names.layouts import WRITABLE, Layout
from animatediff.weights.storage.files import read_header, write_weights

MOTION = {
    "motion-v1": "authors",
    "motion-v2": "authors",
    "motion-v3-diffusers": "diffusers",
    "motion-sdxl": "authors",
    "motion-lcm": "authors",
    "motion-hotshot": "hotshot",
    "motion-ours": "ours",
}
LOW_RANK = {
    "domain-adapter": "authors",
    "domain-adapter-diffusers": "diffusers",
    "domain-adapter-kohya": "kohya",
    "motion-lora-v2": "authors",
    "motion-lora-diffusers": "diffusers",
    "motion-lora-kohya": "kohya",
}


def written(folder: Path, name: str) -> tuple[Path, dict[str, Tensor]]:
    """A sample's file, with true ranks for alphas, and what it holds."""
    tensors = synthetic.tensors(name)
    for key in tensors:
        if key.endswith(".alpha"):
            tensors[key] = torch.tensor(float(synthetic.SAMPLES[name].rank or 0)).half()
    path = folder / f"{name}.safetensors"
    return write_weights(path, tensors, metadata=synthetic.SAMPLES[name].metadata), tensors


def assert_same(path: Path, tensors: dict[str, Tensor]) -> None:
    again = load_file(path)
    assert again.keys() == tensors.keys()
    for key, tensor in tensors.items():
        assert again[key].dtype == tensor.dtype, key
        assert torch.equal(again[key], tensor), key


@pytest.fixture(scope="module")
def sample_of(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str], tuple[Path, dict[str, Tensor]]]:
    """``written``, each sample once; to be read, not changed."""
    folder = tmp_path_factory.mktemp("samples")
    return functools.cache(lambda name: written(folder, name))


@pytest.mark.parametrize("name", MOTION)
@pytest.mark.parametrize("layout", WRITABLE["motion"])
def test_motion_modules_come_back_bit_for_bit_from_every_layout(
    tmp_path: Path,
    sample_of: Callable[[str], tuple[Path, dict[str, Tensor]]],
    name: str,
    layout: Layout,
) -> None:
    source, tensors = sample_of(name)
    there = convert(source, tmp_path / "there.safetensors", layout=layout)
    assert (there.kind, there.source_layout, there.notes) == ("motion", MOTION[name], ())
    assert read_motion(there.path).family.name == there.family
    assert read_motion(there.path).layout == layout
    back = convert(there.path, tmp_path / "back.safetensors", layout=MOTION[name])  # type: ignore[arg-type]
    assert_same(back.path, tensors)


@pytest.mark.parametrize("name", LOW_RANK)
@pytest.mark.parametrize("layout", WRITABLE["adapter"])
def test_low_rank_files_come_back_bit_for_bit_from_every_layout(
    tmp_path: Path,
    sample_of: Callable[[str], tuple[Path, dict[str, Tensor]]],
    name: str,
    layout: Layout,
) -> None:
    source, tensors = sample_of(name)
    there = convert(source, tmp_path / "there.safetensors", layout=layout)
    assert (there.source_layout, there.notes) == (LOW_RANK[name], ())
    back = convert(there.path, tmp_path / "back.safetensors", layout=LOW_RANK[name])  # type: ignore[arg-type]
    if name == "domain-adapter-kohya":  # distributed without the alphas that kohya's layout has
        alphas = {f"{key.partition('.')[0]}.alpha" for key in tensors}
        tensors = tensors | {key: torch.tensor(128.0).half() for key in alphas}
    assert_same(back.path, tensors)


def test_motion_directors_spelling_is_read_and_the_authors_written(tmp_path: Path) -> None:
    source, tensors = written(tmp_path, "motion-director")
    there = convert(source, tmp_path / "ours.safetensors", layout="ours")
    back = convert(there.path, tmp_path / "back.safetensors", layout="authors")
    by_numbers = {digest(t) for t in tensors.values()}
    assert {digest(t) for t in load_file(back.path).values()} == by_numbers
    assert back.tensors == len(tensors)


def digest(tensor: Tensor) -> str:
    return hashlib.sha256(tensor.numpy().tobytes()).hexdigest()


def test_an_alpha_that_is_not_the_rank_stays_or_goes_into_the_numbers(tmp_path: Path) -> None:
    source, tensors = written(tmp_path, "motion-lora-kohya")
    halved = {k: t / 2 if k.endswith(".alpha") else t for k, t in tensors.items()}
    source = write_weights(tmp_path / "halved.safetensors", halved, metadata={})
    ours = convert(source, tmp_path / "ours.safetensors", layout="ours")
    back = convert(ours.path, tmp_path / "back.safetensors", layout="kohya")
    assert_same(back.path, halved)
    plain = convert(source, tmp_path / "plain.safetensors", layout="authors")
    assert "has no alpha" in plain.notes[0]
    key = next(k for k in load_file(plain.path) if k.endswith("to_q_lora.up.weight"))
    stem = "lora_unet_" + key.removesuffix(".processor.to_q_lora.up.weight").replace(".", "_")
    expected = tensors[f"{stem}_to_q.lora_up.weight"] / 2
    assert torch.equal(load_file(plain.path)[key], expected)


@pytest.mark.parametrize("layout", ["same", "authors", "kohya"])
@pytest.mark.parametrize("name", ["domain-adapter", "motion-lora-diffusers"])
def test_with_a_gain_scale_one_is_what_that_scale_was(
    tmp_path: Path, name: str, layout: TargetLayout
) -> None:
    source, _ = written(tmp_path, name)
    plain, strong = tmp_path / "plain.safetensors", tmp_path / "strong.safetensors"
    convert(source, plain, layout=layout)
    convert(source, strong, layout=layout, gain=1.5)
    before, after = load_file(plain), load_file(strong)
    assert before.keys() == after.keys()
    read = read_adapter if name.startswith("domain") else read_motion_lora
    ups = {up for _, up in read(plain).names.values()}
    for key, tensor in before.items():
        assert after[key].dtype == tensor.dtype
        expected = 1.5 * tensor.double() if key in ups else tensor
        assert torch.equal(after[key], expected.to(tensor.dtype)), key
    facts = read_header(plain).metadata
    assert read_header(strong).metadata == facts | {"gain": "1.5"}
    convert(strong, plain, gain=2.0)
    assert read_header(plain).metadata["gain"] == "1.5 * 2"


@pytest.mark.parametrize("name", ["controlnet", "controlnet-ldm", "sparse-rgb"])
def test_with_a_gain_a_control_network_adds_that_much_more(tmp_path: Path, name: str) -> None:
    source, before = written(tmp_path, name)
    strong = convert(source, tmp_path / "strong.safetensors", gain=1.5).path
    after = load_file(strong)
    changed = {key for key, tensor in before.items() if not torch.equal(after[key], tensor)}
    ends = {
        key for key in before if re.search(r"zero_convs|_block_out|controlnet_(down|mid)_", key)
    }
    assert changed == ends
    assert len(ends) == 2 * 13  # weights and biases of twelve residuals and of the middle one
    for key in ends:
        assert torch.equal(after[key], (1.5 * before[key].double()).to(before[key].dtype))
    assert inspect(strong).kind == inspect(source).kind
    assert read_header(strong).metadata["gain"] == "1.5"
    with pytest.raises(InputError, match="has no opposite"):
        convert(source, tmp_path / "back.safetensors", gain=-1.0)


def test_a_gain_below_zero_makes_the_opposite_move_a_file_of_its_own(tmp_path: Path) -> None:
    both, back, again = (tmp_path / f"{name}.safetensors" for name in ("both", "back", "again"))
    moves = {"pattern": "roll-clockwise:0.7", "opposite": "roll-anticlockwise:0.7"}
    _, weights = written(tmp_path, "motion-lora-v2")
    write_weights(both, weights, metadata=moves)
    convert(both, back, gain=-1.5)
    told = read_header(back).metadata
    assert (told["pattern"], told["opposite"]) == (moves["opposite"], moves["pattern"])
    ups = {up for _, up in read_motion_lora(back).names.values()}
    turned = load_file(back)
    assert all(torch.equal(turned[up], (-1.5 * weights[up].double()).half()) for up in ups)
    told = read_header(convert(back, again, layout="authors").path).metadata
    assert (told["pattern"], told["gain"]) == (moves["opposite"], "-1.5")
    # What was learned one way alone has no known opposite.
    write_weights(both, weights, metadata={"pattern": "zoom-in"})
    convert(both, again, gain=-1.0)
    told = read_header(again).metadata
    assert "pattern" not in told
    assert told["opposite"] == "zoom-in"


def test_a_gain_that_cannot_be_is_refused(tmp_path: Path) -> None:
    source, _ = written(tmp_path, "motion-lora-v2")
    target = tmp_path / "out.safetensors"
    for gain in (0.0, -11.0, 11.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="give --gain a number from -10 to 10 other than 0"):
            convert(source, target, gain=gain)
    module, _ = written(tmp_path, "motion-v1")
    with pytest.raises(InputError, match="--gain is for these"):
        convert(module, target, gain=2.0)
    assert not target.exists()


def test_how_guidance_pulls_towards_a_motion_lora_stays_with_it(tmp_path: Path) -> None:
    source, weights = written(tmp_path, "motion-lora-v2")
    told, again = tmp_path / "told.safetensors", tmp_path / "again.safetensors"
    convert(source, told, motion_guidance=0.75)
    assert_same(told, weights)
    assert read_motion_lora(source).motion_guidance == 0
    assert read_motion_lora(told).motion_guidance == 0.75
    for layout in WRITABLE["motion-lora"]:
        assert read_motion_lora(convert(told, again, layout=layout).path).motion_guidance == 0.75
    convert(told, again, layout="diffusers", motion_guidance=0.0)
    assert read_motion_lora(again).motion_guidance == 0
    for number in (-0.1, 1.1, float("nan")):
        with pytest.raises(InputError, match="give --motion-guidance a number from 0 to 1"):
            convert(source, tmp_path / "out.safetensors", motion_guidance=number)
    adapter, _ = written(tmp_path, "domain-adapter")
    with pytest.raises(InputError, match="no MotionLoRA, and --motion-guidance is for these"):
        convert(adapter, tmp_path / "out.safetensors", motion_guidance=1.0)
    assert not (tmp_path / "out.safetensors").exists()


@pytest.mark.parametrize("name", ["motion-v1", "motion-v2", "motion-v3", "motion-sdxl"])
def test_diffusers_itself_loads_what_is_written_for_it(tmp_path: Path, name: str) -> None:
    source, tensors = written(tmp_path, name)
    folder = convert(source, tmp_path / "adapter", layout="diffusers").path
    adapter = MotionAdapter.from_pretrained(folder, torch_dtype=torch.float16)
    state = adapter.state_dict()
    assert set(state) == set(load_file(folder / "diffusion_pytorch_model.safetensors"))
    query = "down_blocks.0.motion_modules.1."
    theirs = state[f"{query}transformer_blocks.0.attn2.to_q.weight"]
    ours = tensors[
        f"{query}temporal_transformer.transformer_blocks.0.attention_blocks.1.to_q.weight"
    ]
    assert torch.equal(theirs, ours.half())
    assert adapter.config["use_motion_mid_block"] == (name == "motion-v2")


def test_a_file_without_positions_says_its_version(tmp_path: Path) -> None:
    source, _ = written(tmp_path, "motion-v1")
    path = convert(source, tmp_path / "ours.safetensors", layout="ours").path
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    assert metadata["family"] == "v1"
    assert metadata["modelspec.architecture"] == "stable-diffusion-v1/motion-module"
    assert metadata["modelspec.sai_model_spec"] == "1.0.1"
    assert read_motion(path).resnet_norm_scope == "video"


def test_false_positions_are_replaced_and_said_to_be(tmp_path: Path) -> None:
    _, tensors = written(tmp_path, "motion-v3")
    key = next(k for k in tensors if k.endswith(".pe"))
    source = write_weights(
        tmp_path / "odd.safetensors", {**tensors, key: torch.zeros_like(tensors[key])}, metadata={}
    )
    done = convert(source, tmp_path / "clean.safetensors", layout="authors")
    assert "1 tables of positions in odd.safetensors" in done.notes[0]
    assert_same(done.path, tensors)


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("motion-v3", "auto"),
        ("motion-trained", "v1"),
        ("domain-adapter", "auto"),
        ("motion-lora-v2", "auto"),
    ],
)
def test_published_pickles_with_their_wrappers_convert(
    tmp_path: Path, name: str, family: str
) -> None:
    source = synthetic.write_pickle(tmp_path / "published.ckpt", name)
    done = convert(source, tmp_path / "ours.safetensors", layout="ours", family=family)
    plain, _ = written(tmp_path, name)
    expected = convert(plain, tmp_path / "expected.safetensors", layout="ours", family=family)
    assert_same(done.path, load_file(expected.path))


def test_any_other_pickle_keeps_its_names(tmp_path: Path) -> None:
    source = synthetic.write_pickle(tmp_path / "vae.ckpt", "vae")
    done = convert(source, tmp_path / "vae.safetensors")
    assert (done.kind, done.layout) == (None, "same")
    assert_same(done.path, synthetic.tensors("vae"))


def test_what_cannot_be_converted_is_refused_in_one_sentence(tmp_path: Path) -> None:
    adapter, _ = written(tmp_path, "domain-adapter")
    vae, _ = written(tmp_path, "vae")
    motion, _ = written(tmp_path, "motion-v3")
    out = tmp_path / "out.safetensors"
    for source, layout, error, sentence in (
        (adapter, "hotshot", InputError, "no hotshot layout"),
        (motion, "kohya", InputError, "no kohya layout"),
        (vae, "authors", FileError, "only --layout same"),
        (motion, "theirs", InputError, "no layout 'theirs'"),
        (tmp_path / "absent.safetensors", "ours", FileError, "cannot be read"),
    ):
        with pytest.raises(error, match=sentence) as refused:
            convert(source, out, layout=layout)  # type: ignore[arg-type]
        assert "\n" not in str(refused.value)
        assert not out.exists()
    with pytest.raises(InputError, match="source itself"):
        convert(motion, motion, layout="ours")
    with pytest.raises(InputError, match="must end in"):
        convert(motion, tmp_path / "out.ckpt", layout="ours")
    with pytest.raises(OutputError, match="cannot be written"):
        convert(motion, tmp_path / "nowhere" / "out.safetensors", layout="ours")


def test_the_command_says_what_became_of_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, _ = written(tmp_path, "motion-v2")
    target = tmp_path / "adapter"
    assert main(["convert", str(source), "-o", str(target), "--layout", "diffusers"]) == 0
    said = capsys.readouterr().out
    assert "motion module v2, 567 tensors (authors layout to diffusers)" in said
    assert json.loads((target / "config.json").read_text())["motion_max_seq_length"] == 32


def test_a_family_is_kept_with_the_file_also_where_the_layout_stays(tmp_path: Path) -> None:
    source, tensors = written(tmp_path, "motion-v1")
    made = convert(source, tmp_path / "x.safetensors", family="v1")
    assert made.family == "v1"
    assert_same(made.path, tensors)
    assert read_motion(made.path).family.name == "v1"
    with pytest.raises((InputError, FileError), match="v9"):
        convert(source, tmp_path / "y.safetensors", family="v9")
    lora, _ = written(tmp_path, "motion-lora-v2")
    with pytest.raises(InputError, match="is no motion module, and --family is for these"):
        convert(lora, tmp_path / "z.safetensors", family="v2")
