"""Networks beside the model are listed with their size, each file once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image
from tests.tiny_models import new_unet
from tests.weights.tiny_ip_adapter import ip_adapter_weights, write_encoder

from animatediff.apps.footprints import footprints, seconds_of, steers
from animatediff.sampling.animator import Animator
from animatediff.sampling.request import AnimationRequest
from animatediff.weights.storage.files import write_weights


def test_each_network_is_listed_once_with_its_numbers(
    tiny_world: Path, tiny_motion: Path, tmp_path: Path
) -> None:
    weights = ip_adapter_weights("base", new_unet())
    write_weights(tmp_path / "ip.safetensors", weights, metadata={})
    encoder = write_encoder(tmp_path / "image_encoder")
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "a.png")
    file = str(tmp_path / "ip.safetensors")
    request = AnimationRequest(
        "a fox",
        model=str(tiny_world),
        motion=str(tiny_motion),
        num_frames=1,
        steps=1,
        ip_adapters=(f"{file}:0.5", f"{file}:0.2"),
        ip_images=(str(tmp_path / "a.png"),),
        image_encoder=str(encoder),
    )
    animator = Animator.for_request(request)
    adapter, clip = footprints(animator, animator.resolved(request))
    assert (adapter.role, adapter.name) == ("ip-adapter", "ip.safetensors")
    assert adapter.parameters == sum(tensor.numel() for tensor in weights.values())
    assert adapter.num_bytes == 4 * adapter.parameters
    assert str(adapter).startswith("IP-Adapter ip.safetensors: 0.")
    assert clip.role == "image-encoder"
    assert "s to denoise" in seconds_of(animator.animate(request))
    assert steers(request)
    assert not steers(replace(request, ip_adapters=(), ip_images=()))


def test_a_network_that_is_loaded_and_not_used_is_not_listed() -> None:
    animator = Animator.load("emoji")
    for strength, names in ((0.0, []), (1.0, ["pictures.safetensors"])):
        request = AnimationRequest("a fox", picture_strength=strength)
        listed = footprints(animator, animator.resolved(request))
        assert [network.name for network in listed] == names
