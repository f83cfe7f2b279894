"""Single files: they load to the tensors of the diffusers folder that they were made from."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tests.weights import synthetic
from torch import Tensor, nn

from animatediff.errors import FileError
from animatediff.weights.finding.model_folders import ModelFile
from animatediff.weights.image_model.base_model import BaseModel, load_base_model, plan_base_model
from animatediff.weights.image_model.single_file import (
    UNET,
    VAE,
    published_configs,
    read_single_file,
)
from animatediff.weights.image_model.tokenizer import clip_tokenizer
from animatediff.weights.storage.files import read_header

pytestmark = pytest.mark.usefixtures("small_vocabularies")

BASES = ("sd15", "sd2", "sdxl")
TEXT_TYPE = {"model_type": "clip_text_model"}
CPU = torch.device("cpu")


@functools.cache
def single_file_of(base: str) -> dict[str, Tensor]:
    """A single file made from the parts of ``synthetic.write_folder``."""
    unet = synthetic.tensors(f"unet-{base}")
    names = set(unet)
    whole = {f"{UNET}{synthetic.ldm_unet_name(name, names)}": t for name, t in unet.items()}
    for name, tensor in synthetic.tensors("vae").items():
        ldm = synthetic.ldm_vae_name(name)
        matrix = ".attn_1." in ldm and tensor.ndim == 2
        whole[VAE + ldm] = tensor[..., None, None] if matrix else tensor
    if base == "sd15":
        prefix = "cond_stage_model.transformer."
        whole |= {prefix + n: t for n, t in synthetic.tensors("text-sd15").items()}
        whole[f"{prefix}text_model.embeddings.position_ids"] = torch.arange(77)[None]
    elif base == "sd2":
        whole |= open_clip(synthetic.tensors("text-sd2"), "cond_stage_model.model.")
    else:
        prefix = "conditioner.embedders.0.transformer."
        whole |= {prefix + n: t for n, t in synthetic.tensors("text-sd15").items()}
        whole |= open_clip(synthetic.tensors("text-sdxl-2"), "conditioner.embedders.1.model.")
    return whole | {"model_ema.decay": torch.tensor(0.9), "betas": torch.zeros(1000)}


def open_clip(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """OpenCLIP's names, with queries, keys and values stacked."""
    ends = {
        "embeddings.position_embedding.weight": "positional_embedding",
        "embeddings.token_embedding.weight": "token_embedding.weight",
        "final_layer_norm.weight": "ln_final.weight",
        "final_layer_norm.bias": "ln_final.bias",
    }
    pairs = (
        ("encoder.layers", "transformer.resblocks"),
        ("layer_norm", "ln_"),
        ("fc1", "c_fc"),
        ("fc2", "c_proj"),
        ("self_attn", "attn"),
    )
    made: dict[str, Tensor] = {"logit_scale": torch.tensor(4.6)}
    for name, tensor in weights.items():
        name = name.removeprefix("text_model.")
        if name == "text_projection.weight":
            made["text_projection"] = tensor.t()
        elif name in ends:
            made[ends[name]] = tensor
        elif "q_proj" in name:
            stack = [weights["text_model." + name.replace("q_proj", f"{p}_proj")] for p in "qkv"]
            made[renamed(name.replace("q_proj.", "in_proj_"), pairs)] = torch.cat(stack)
        elif "k_proj" not in name and "v_proj" not in name:
            made[renamed(name, pairs)] = tensor
    return {prefix + name: tensor.contiguous() for name, tensor in made.items()}


def renamed(name: str, pairs: tuple[tuple[str, str], ...]) -> str:
    for old, new in pairs:
        name = name.replace(old, new)
    return name


def write_folder(folder: Path, base: str) -> Path:
    """``synthetic.write_folder`` with what it leaves out: tokenizers, and the kind of each text."""
    synthetic.write_folder(folder, base)
    for part in ("text_encoder", "text_encoder_2"):
        path = folder / part / "config.json"
        if path.exists():
            path.write_text(json.dumps(json.loads(path.read_text()) | TEXT_TYPE))
    for part in ("tokenizer", "tokenizer_2"):
        (folder / part).mkdir()
        (folder / part / "tokenizer_config.json").write_text("{}")
        vocabulary = clip_tokenizer().get_vocab()
        (folder / part / "vocab.json").write_text(json.dumps(vocabulary))
        (folder / part / "merges.txt").write_text("#version: 0.2\n")
    return folder


def load(path: Path) -> BaseModel:
    return load_base_model(path, dtype=torch.float16, device=CPU)


def networks(base: BaseModel) -> dict[str, nn.Module]:
    parts: dict[str, Any] = {
        "unet": base.unet,
        "vae": base.vae,
        "text_encoder": base.text_encoder,
        "text_encoder_2": base.text_encoder_2,
    }
    return {name: module for name, module in parts.items() if module is not None}


@pytest.mark.parametrize("base", BASES)
def test_a_single_file_loads_to_the_tensors_of_its_folder(base: str, tmp_path: Path) -> None:
    save_file(
        {name: t.contiguous() for name, t in single_file_of(base).items()},
        tmp_path / "whole.safetensors",
    )
    single, folder = load(tmp_path / "whole.safetensors"), load(write_folder(tmp_path / "f", base))
    assert set(networks(single)) == set(networks(folder))
    for part, module in networks(single).items():
        theirs = networks(folder)[part].state_dict()
        ours = module.state_dict()
        assert set(ours) == set(theirs)
        for name, tensor in ours.items():
            assert torch.equal(tensor, theirs[name]), (part, name)
    assert single.empty_is_zero == folder.empty_is_zero == (base == "sdxl")
    assert single.vae.config["scaling_factor"] == folder.vae.config["scaling_factor"]


@pytest.mark.parametrize("base", BASES)
def test_a_single_file_of_real_size_fits_down_to_every_name(base: str, tmp_path: Path) -> None:
    path = synthetic.write_sparse(tmp_path / "whole.safetensors", base)
    plan = plan_base_model(ModelFile("whole", path))
    assert all(p.is_meta for part in plan.parts.values() for p in part.module.parameters())
    published = published_configs(read_single_file(read_header(path)).generation)
    for part, config in published.items():
        if part in plan.parts:
            built = getattr(plan, part).config
            built = built if isinstance(built, dict) else built.to_dict()
            for key, value in config.items():
                if key != "transformer_layers_per_block":
                    assert plain(built[key]) == plain(value), (part, key)
    layers = plan.unet.config["transformer_layers_per_block"]
    assert list(layers) == ([1, 2, 10] if base == "sdxl" else [1, 1, 1, 1])


def plain(value: object) -> object:
    return list(value) if isinstance(value, list | tuple) else value


@pytest.mark.parametrize("base", BASES)
def test_names_are_those_of_diffusers_own_conversion(base: str, tmp_path: Path) -> None:
    from diffusers.loaders import single_file_utils as theirs

    path = synthetic.write_sparse(tmp_path / "whole.safetensors", base)
    plan = plan_base_model(ModelFile("whole", path))
    with torch.device("meta"):
        shapes = read_header(path).shapes
        stored = {name: torch.empty(shape) for name, shape in shapes.items()}
    number = {id(tensor): name for name, tensor in stored.items()}
    converted = theirs.convert_ldm_unet_checkpoint(dict(stored), dict(plan.unet.config))
    for name, tensor in converted.items():
        assert plan.parts["unet"].sources[name].name == number[id(tensor)]
    assert set(converted) == set(plan.parts["unet"].sources)
    vae = theirs.convert_ldm_vae_checkpoint(dict(stored), dict(plan.vae.config))
    assert set(vae) == set(plan.parts["vae"].sources)
    for name, tensor in vae.items():
        if id(tensor) in number:  # attention is squeezed to another tensor
            assert plan.parts["vae"].sources[name].name == number[id(tensor)]


def test_the_published_vocabulary_numbers_words_as_clip_does() -> None:
    words = clip_tokenizer()
    assert len(words) == 49408
    ids = words("a photo of a cat")["input_ids"]
    assert ids == [49406, 320, 1125, 539, 320, 2368, 49407]
    assert clip_tokenizer(pad="!").pad_token_id == 0


def test_early_files_nest_the_text_encoder_less_deeply(tmp_path: Path) -> None:
    weights = {
        name.replace("transformer.text_model.", "transformer."): t.contiguous()
        for name, t in single_file_of("sd15").items()
    }
    save_file(weights, tmp_path / "old.safetensors")
    loaded = load(tmp_path / "old.safetensors")
    wanted = synthetic.tensors("text-sd15")["text_model.final_layer_norm.weight"]
    assert torch.equal(loaded.text_encoder.final_layer_norm.weight, wanted.float())


@pytest.mark.parametrize("sample", ["vae", "vae-ldm", "vae-ldm-prefixed"])
def test_another_autoencoder_takes_the_place_of_the_models_own(sample: str, tmp_path: Path) -> None:
    weights = single_file_of("sd15")
    save_file({n: t.contiguous() for n, t in weights.items()}, tmp_path / "whole.safetensors")
    other = synthetic.write(tmp_path / "vae.safetensors", sample, seed=7)
    model = ModelFile("whole", tmp_path / "whole.safetensors")
    loaded = plan_base_model(model, vae=other).load(dtype=torch.float32, device=CPU)
    stored = synthetic.tensors(sample, seed=7)
    key = "decoder.mid_block.attentions.0.to_q.weight"
    name = key if sample == "vae" else "decoder.mid.attn_1.q.weight"
    name = f"{VAE}{name}" if sample.endswith("prefixed") else name
    wanted = stored[name].float()
    assert torch.equal(loaded.vae.state_dict()[key], wanted.reshape(wanted.shape[:2]))
    assert loaded.files == {"model": model.path, "vae": other}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda w: {n: t for n, t in w.items() if not n.startswith(VAE)}, "give one with --vae"),
        (lambda w: {n: t for n, t in w.items() if "cond_stage" not in n}, "no text encoder"),
        (
            lambda w: {n: t for n, t in w.items() if not n.startswith(UNET)},
            "--model needs an image model",
        ),
        (lambda w: w | {f"{UNET}input_blocks.0.0.weight": torch.zeros(32, 9, 3, 3)}, "inpainting"),
        (lambda w: {n: t for n, t in w.items() if n != f"{UNET}out.2.bias"}, "lacks .*out.2.bias"),
    ],
)
def test_a_file_that_is_no_whole_model_is_refused_in_one_sentence(
    change: Any, sentence: str, tmp_path: Path
) -> None:
    weights = {n: t.contiguous() for n, t in change(single_file_of("sd15")).items()}
    path = tmp_path / "x.safetensors"
    save_file(weights, path)
    with pytest.raises(FileError, match=sentence) as refused:
        plan_base_model(ModelFile("x", path))
    assert "\n" not in str(refused.value)


def test_what_the_denoiser_predicts_is_read_where_the_file_says_it(tmp_path: Path) -> None:
    weights = {n: t.contiguous() for n, t in single_file_of("sd15").items()}
    save_file(weights, tmp_path / "e.safetensors")
    save_file(weights | {"v_pred": torch.zeros(0)}, tmp_path / "v.safetensors")
    said = {"modelspec.prediction_type": "v"}
    save_file(weights, tmp_path / "m.safetensors", metadata=said)
    kinds = [
        read_single_file(read_header(tmp_path / f"{name}.safetensors")).configs["scheduler"]
        for name in "evm"
    ]
    assert [k["prediction_type"] for k in kinds] == ["epsilon", "v_prediction", "v_prediction"]
