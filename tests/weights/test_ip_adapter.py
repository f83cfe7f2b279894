"""IP-Adapters and image encoders from files: forms told by their shapes, wrong ones refused."""

import numpy as np
import pytest
import torch
from PIL import Image
from tests.tiny_models import WIDTH, new_unet
from tests.weights.tiny_ip_adapter import ENCODER, FEATURES, ip_adapter_weights, new_projection
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.clip.modeling_clip import CLIPVisionModelWithProjection

from animatediff.errors import FileError
from animatediff.weights.image_prompts.image_encoder import clip_pixels, plan_image_encoder
from animatediff.weights.image_prompts.ip_adapter import (
    check_ip_adapter,
    load_ip_adapter,
    read_ip_adapter,
)
from animatediff.weights.storage.files import write_weights

CPU = torch.device("cpu")


def written(tmp_path, form, *, leave_out=(), dtype=torch.float32, **more):
    """An IP-Adapter's file for the tiny U-Net; its path, and what is in it."""
    torch.manual_seed(0)
    projection = new_projection(form)
    weights = ip_adapter_weights(form, new_unet())
    weights = {name: x.to(dtype) for name, x in (weights | more).items() if name not in leave_out}
    return write_weights(tmp_path / "ip.safetensors", weights, metadata={}), projection, weights


@pytest.mark.parametrize(("form", "tokens"), [("base", 4), ("plus", 16), ("full", 0)])
def test_each_form_is_told_by_its_shapes_and_loads_to_equal_numbers(tmp_path, form, tokens):
    path, projection, weights = written(tmp_path, form)
    file = read_ip_adapter(path)
    assert (file.form, file.features, file.cross, file.num_tokens) == (
        form,
        FEATURES,
        WIDTH,
        tokens,
    )
    assert file.notes == ()
    loaded = load_ip_adapter(file, new_unet(), device=CPU)
    for name, tensor in projection.state_dict().items():
        assert torch.equal(loaded.projection.state_dict()[name], tensor)
    for index, branch in enumerate(loaded.branches):
        name = f"ip_adapter.{2 * index + 1}.to_v_ip.weight"
        assert torch.equal(branch.to_v_ip.weight, weights[name])


def test_half_precision_loads_in_the_models_precision(tmp_path):
    path, _, _ = written(tmp_path, "plus", dtype=torch.float16)
    loaded = load_ip_adapter(read_ip_adapter(path), new_unet(), device=CPU)
    assert {p.dtype for p in loaded.projection.parameters()} == {torch.float32}
    assert {p.dtype for branch in loaded.branches for p in branch.parameters()} == {torch.float32}


def test_one_for_another_model_is_refused_with_both_numbers(tmp_path):
    path, _, _ = written(tmp_path, "base", leave_out=("ip_adapter.1.to_k_ip.weight",))
    with pytest.raises(FileError, match=r"attention layers .* choose an IP-Adapter for it"):
        check_ip_adapter(read_ip_adapter(path), new_unet())


@pytest.mark.parametrize(
    "mark", ["image_proj.perceiver_resampler.proj_in.weight", "image_proj.proj.2.weight"]
)
def test_face_id_is_refused_by_name(tmp_path, mark):
    path, _, _ = written(tmp_path, "base", **{mark: torch.zeros(4, 4)})
    with pytest.raises(FileError, match=r"FaceID.*insightface"):
        read_ip_adapter(path)


def test_a_projection_of_no_known_form_is_refused(tmp_path):
    path, _, _ = written(
        tmp_path, "base", leave_out=("image_proj.proj.weight", "image_proj.norm.weight")
    )
    with pytest.raises(FileError, match="no known form"):
        read_ip_adapter(path)


def test_a_damaged_file_is_refused(tmp_path):
    name = "image_proj.norm.bias"
    path, _, _ = written(tmp_path, "base", **{name: torch.full((WIDTH,), torch.nan)})
    with pytest.raises(FileError, match="damaged"):
        load_ip_adapter(read_ip_adapter(path), new_unet(), device=CPU)


# --- image encoders -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return CLIPVisionModelWithProjection(ENCODER).eval()


def picture(seed: int, height: int = 40, width: int = 30) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3)).astype(np.uint8)


@pytest.mark.parametrize("kind", ["file", "folder", "nested"])
def test_an_encoder_reads_as_transformers_does(tmp_path, network, kind):
    if kind == "file":
        path = write_weights(tmp_path / "clip.safetensors", network.state_dict(), metadata={})
    else:
        path = tmp_path
        network.save_pretrained(tmp_path / ("image_encoder" if kind == "nested" else "."))
    encoder = plan_image_encoder(path, device=CPU)
    assert (encoder.width, encoder.embedding) == (128, FEATURES)
    pictures = [picture(1), picture(2, 28, 50)]
    pixels = torch.stack([clip_pixels(p, side=28) for p in pictures])
    with torch.inference_mode():
        expected = network(pixels, output_hidden_states=True)
        nothing = network(torch.zeros(1, 3, 28, 28), output_hidden_states=True)
    torch.testing.assert_close(encoder.pooled(pictures, device=CPU), expected.image_embeds)
    torch.testing.assert_close(encoder.patches(pictures, device=CPU), expected.hidden_states[-2])
    torch.testing.assert_close(encoder.no_patches(device=CPU), nothing.hidden_states[-2])


@pytest.mark.parametrize("size", [(40, 30), (224, 224), (97, 301), (500, 333)])
def test_pictures_are_prepared_as_transformers_does(size):
    shown = picture(3, *size)
    theirs = CLIPImageProcessorPil(
        size={"shortest_edge": 224}, crop_size={"height": 224, "width": 224}
    )
    expected = theirs(Image.fromarray(shown), return_tensors="pt")["pixel_values"][0]
    got = clip_pixels(shown)
    assert got.shape == (3, 224, 224)
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=0)


def test_a_vision_model_without_a_projection_is_refused(tmp_path, network):
    weights = {k: v for k, v in network.state_dict().items() if k != "visual_projection.weight"}
    path = write_weights(tmp_path / "clip.safetensors", weights, metadata={})
    with pytest.raises(FileError, match="visual_projection"):
        plan_image_encoder(path, device=CPU)


def test_a_folder_without_weights_is_refused(tmp_path):
    with pytest.raises(FileError, match=r"no model\.safetensors"):
        plan_image_encoder(tmp_path, device=CPU)
