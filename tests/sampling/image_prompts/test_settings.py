"""What the options of image prompts mean, before any network is run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from PIL import Image
from tests.tiny_models import new_unet
from tests.weights.synthetic import unet_config

from animatediff.errors import FileError, InputError
from animatediff.model.image_prompts.attention import cross_attentions
from animatediff.sampling.image_prompts.inputs import check_pictures, image_prompt_files
from animatediff.sampling.image_prompts.layer_weights import prompt_layer_weights
from animatediff.sampling.image_prompts.settings import image_prompt_settings
from animatediff.sampling.image_prompts.tracks import read_tracks
from animatediff.sampling.options.pictures import Picture
from animatediff.sampling.request import AnimationRequest


def save(path: Path, shade: int) -> Path:
    Image.new("RGB", (6, 4), (shade,) * 3).save(path)
    return path


def test_pictures_go_to_all_adapters_or_to_the_one_they_name() -> None:
    request = AnimationRequest(
        "x", ip_adapters=("a:0.5", "b"), ip_images=("all.png", "2=two.png"), ip_weights=("style",)
    ).validated()
    one, two = image_prompt_settings(request)
    assert [p.path.name for p in one.pictures] == ["all.png"]
    assert [p.path.name for p in two.pictures] == ["all.png", "two.png"]
    assert (one.weights, two.weights, str(one.scale)) == ("style", "style", "0.5")
    assert AnimationRequest.from_json(request.to_json()) == request


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"ip_adapters": ("a",), "ip_ranges": ("1:0",)}, "is no range of steps"),
        ({"ip_adapters": ("a",), "ip_weights": ("strong",)}, "ease-in"),
        ({"ip_adapters": ("a",), "ip_images": ("3=x.png",)}, "number 3, and there are 1"),
        ({"ip_adapters": ("a", "b"), "ip_masks": ("m",) * 3}, "given 3 times for 2 IP-Adapters"),
        ({"ip_images": ("",)}, "is no picture"),
    ],
)
def test_an_option_that_cannot_be_is_refused_at_once(
    fields: dict[str, tuple[str, ...]], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        AnimationRequest("x", **fields).validated()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"ip_images": ("x.png",)}, "name one with --ip-adapter"),
        ({"ip_adapters": ("a",)}, "has no picture to follow"),
        ({"ip_adapters": ("a",), "ip_images": ("x.png",)}, "with --image-encoder"),
    ],
)
def test_adapters_pictures_and_encoder_belong_together(
    fields: dict[str, tuple[str, ...]], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        check_pictures(AnimationRequest("x", **fields))  # type: ignore[arg-type]


def test_a_missing_picture_is_named() -> None:
    with pytest.raises(FileError, match=r"nowhere\.png is missing"):
        image_prompt_files(AnimationRequest("x", ip_images=("nowhere.png@0",)))


@pytest.mark.parametrize(
    ("between", "shares"),
    [
        ("linear", [0, 0.25, 0.5, 0.75, 0, 0]),
        ("nearest", [0, 0, 0, 1, 0, 0]),
        ("hold", [0, 0, 0, 0, 0, 0]),
    ],
)
def test_frames_between_two_pictures_follow_both_or_one(
    between: str, shares: list[float], tmp_path: Path
) -> None:
    first, last = save(tmp_path / "a.png", 10), save(tmp_path / "b.png", 20)
    pictures = [Picture(last, 4, None), Picture(first, 0, None)]
    (track,) = read_tracks(pictures, num_frames=6, between=between)  # type: ignore[arg-type]
    assert [picture.max() for picture in track.pictures] == [10, 20]
    assert track.before == (0, 0, 0, 0, 1, 1)
    assert list(track.share) == shares


def test_a_folder_has_a_picture_for_each_frame_and_its_last_is_kept(tmp_path: Path) -> None:
    for number in range(3):
        save(tmp_path / f"{number}.png", number)
    (track,) = read_tracks([Picture(tmp_path, None, None)], num_frames=5, between="linear")
    assert track.before == (0, 1, 2, 2, 2)
    assert set(track.share) == {0}
    with pytest.raises(FileError, match="has several pictures"):
        read_tracks([Picture(tmp_path, 0, None)], num_frames=5, between="linear")


def test_a_frame_that_is_not_and_two_pictures_for_one_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", 1)
    with pytest.raises(InputError, match="names frame 5, and the animation has 5"):
        read_tracks([Picture(path, 5, None)], num_frames=5, between="hold")
    with pytest.raises(InputError, match="Two --ip-image pictures are for frame 4"):
        read_tracks([Picture(path, n, None) for n in (4, -1)], num_frames=5, between="hold")


def test_style_and_composition_are_layers_of_sd_and_sdxl() -> None:
    def weights(base: str, name: str) -> list[float]:
        with torch.device("meta"):
            unet = UNet2DConditionModel(**unet_config(base, "small"))
        return prompt_layer_weights(name, unet)  # type: ignore[arg-type]

    # The files' order is down (6 layers), up (9), middle; the layers count down, middle, up.
    assert weights("sd15", "style") == [1] * 4 + [0] * 2 + [0, 0] + [1] * 7 + [0]
    assert weights("sd15", "composition") == [0] * 4 + [0.25, 1] + [0] * 10
    assert weights("sd15", "linear") == [1] * 16
    eased = weights("sd15", "ease-in")
    assert eased[0] == 1
    assert eased[6] == pytest.approx(0.05 + 0.95 * (1 - 7 / 16))  # the first on the way up
    assert eased[15] == pytest.approx(0.05 + 0.95 * (1 - 6 / 16))  # the middle
    assert weights("sd15", "ease-out")[0] == pytest.approx(0.05)
    with torch.device("meta"):
        unet = UNet2DConditionModel(**unet_config("sdxl", "small"))
    names = {layer: name for name, layer in unet.named_modules()}
    hosts = [names[host] for host in cross_attentions(unet)]
    for name, layer in (
        ("style", "up_blocks.0.attentions.1."),
        ("composition", "down_blocks.2.attentions.1."),
    ):
        chosen = prompt_layer_weights(name, unet)  # type: ignore[arg-type]
        assert {h for h, w in zip(hosts, chosen, strict=True) if w} == {
            h for h in hosts if h.startswith(layer)
        }
    with pytest.raises(InputError, match="is known for Stable Diffusion and SDXL"):
        prompt_layer_weights("style", new_unet())
