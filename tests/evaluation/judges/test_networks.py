"""Judging networks from folders: tiny random ones, in the layouts of the published files."""

import json
import math
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers.models.clip.modeling_clip import CLIPModel
from transformers.models.vit.configuration_vit import ViTConfig
from transformers.models.vit.modeling_vit import ViTModel

from animatediff.errors import FileError
from animatediff.evaluation.judges.clip import ClipJudge
from animatediff.evaluation.judges.dino import Dino
from animatediff.evaluation.judges.raft import Raft
from animatediff.evaluation.judges.raft_network import RaftNetwork, looked_up, pixel_grid

FRAMES = np.random.default_rng(0).integers(0, 255, (3, 40, 52, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def dino_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dino") / "vits-tiny"
    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=32,
        patch_size=16,
    )
    ViTModel(config, add_pooling_layer=False).save_pretrained(folder)
    return folder


def test_clip_embeds_frames_and_texts_as_transformers_does(tiny_clip):
    judge = ClipJudge(tiny_clip)
    seen, words = judge.see(FRAMES), judge.read(["a fox", "a hare on the moon"])
    assert seen.pictures.shape == seen.words.shape == (3, 8)
    assert words.shape == (2, 8)
    network = CLIPModel.from_pretrained(tiny_clip).eval()
    tokens = judge._tokenizer(["a fox"], return_tensors="pt")
    with torch.inference_mode():
        said = network.get_text_features(**tokens)
    said = getattr(said, "pooler_output", said)
    # Padding after the end token is never read.
    assert torch.allclose(words[:1], said, atol=1e-5)
    assert judge.name == "CLIP vit-tiny"


def test_frames_are_embedded_one_by_one(tiny_clip, dino_folder):
    for embed in (lambda f: ClipJudge(tiny_clip).see(f).pictures, Dino(dino_folder).features):
        assert torch.allclose(embed(FRAMES)[1:2], embed(FRAMES[1:2]), atol=1e-5)


def test_dino_loads_the_published_names(dino_folder, tmp_path):
    """The published file says ``encoder.layer.0.attention.attention.query``."""
    names = {
        "q_proj": "attention.query",
        "k_proj": "attention.key",
        "v_proj": "attention.value",
        "o_proj": "output.dense",
    }

    def published(name: str) -> str:
        name = name.replace("mlp.fc1", "intermediate.dense").replace("mlp.fc2", "output.dense")
        for ours, theirs in names.items():
            name = name.replace(f"attention.{ours}", f"attention.{theirs}")
        return f"encoder.layer.{name.removeprefix('layers.')}" if name[:7] == "layers." else name

    weights = load_file(dino_folder / "model.safetensors")
    folder = tmp_path / "published"
    shutil.copytree(dino_folder, folder)
    renamed = {published(name): tensor for name, tensor in weights.items()}
    save_file(renamed, folder / "model.safetensors", metadata={"format": "pt"})
    assert torch.equal(Dino(folder).features(FRAMES), Dino(dino_folder).features(FRAMES))


def test_a_hash_tells_folders_apart(tiny_clip, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(tiny_clip, other)
    assert ClipJudge(other).digest == ClipJudge(tiny_clip).digest
    weights = load_file(other / "model.safetensors")
    weights["logit_scale"] = weights["logit_scale"] + 1
    save_file(weights, other / "model.safetensors", metadata={"format": "pt"})
    assert ClipJudge(other).digest != ClipJudge(tiny_clip).digest


def test_what_is_no_judge_is_named(tiny_clip, dino_folder, tmp_path):
    with pytest.raises(FileError, match=r"--clip .* has no config\.json"):
        ClipJudge(tmp_path)
    with pytest.raises(FileError, match="is a network of the type 'clip'"):
        Dino(tiny_clip)
    with pytest.raises(FileError, match="is a network of the type 'vit'"):
        ClipJudge(dino_folder)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "clip"}))
    with pytest.raises(FileError, match=r"has no model\.safetensors"):
        ClipJudge(tmp_path)
    with pytest.raises(FileError, match=r"--raft .* is not a file"):
        Raft(tmp_path / "raft.pth")


@pytest.mark.filterwarnings("ignore")
def test_an_incomplete_network_is_named(dino_folder, tmp_path):
    folder = tmp_path / "dino"
    shutil.copytree(dino_folder, folder)
    weights = load_file(folder / "model.safetensors")
    del weights["layernorm.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(FileError, match=r"layernorm\.weight is missing"):
        Dino(folder).features(FRAMES)


def test_raft_has_the_published_size_and_names():
    network = RaftNetwork()
    assert sum(weights.numel() for weights in network.parameters()) == 5_257_536
    names = set(network.state_dict())
    assert {
        "fnet.layer2.0.downsample.0.weight",
        "cnet.layer3.0.downsample.1.running_mean",
        "update_block.encoder.convc1.weight",
        "update_block.gru.convq2.bias",
        "update_block.flow_head.conv2.weight",
        "update_block.mask.2.weight",
    } <= names


def test_raft_reads_a_checkpoint_and_frames_of_any_size(tmp_path):
    torch.manual_seed(0)
    weights = {f"module.{n}": t for n, t in RaftNetwork().state_dict().items()}
    double = "module.cnet.layer2.0.downsample.1.weight"
    weights[double.replace("downsample.1", "norm3")] = weights[double].clone()
    save_file(weights, tmp_path / "raft.safetensors")
    flow = Raft(tmp_path / "raft.safetensors")(FRAMES[0], FRAMES[1])
    assert flow.shape == (40, 52, 2)
    assert np.isfinite(flow).all()
    del weights["module.fnet.conv2.bias"]
    save_file(weights, tmp_path / "cut.safetensors")
    with pytest.raises(FileError, match=r"fnet\.conv2\.bias is missing"):
        Raft(tmp_path / "cut.safetensors")(FRAMES[0], FRAMES[1])


def test_raft_looks_up_the_pixel_at_the_windows_centre():
    level = torch.randn(12, 1, 3, 4, generator=torch.Generator().manual_seed(0))
    found = looked_up([level], pixel_grid(torch.zeros(1, 1, 3, 4)))
    assert found.shape == (1, 81, 3, 4)
    own = level.reshape(12, 12).diagonal().reshape(3, 4)
    assert torch.allclose(found[0, 40], own, atol=1e-5)
    # The window's first axis is x: nine entries further on is one pixel to the right.
    right = level.reshape(12, 3, 4)[0, 0, 1]
    assert math.isclose(found[0, 49, 0, 0].item(), right.item(), abs_tol=1e-5)
