"""The stages that train control networks: a ControlNet on pictures, a SparseCtrl network on clips.

A ControlNet (arXiv 2302.05543) follows a hint in every frame: edges, shapes, or pictures of one's own.
A SparseCtrl network (arXiv 2311.16933) follows a few frames of the clip itself, as image-to-video needs
it. Both start without effect on the frozen image model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from animatediff.data.clips import OwnClips
from animatediff.errors import InputError
from animatediff.model.control.controlnet import Hinted
from animatediff.runtime import channels_last
from animatediff.training.lessons.clips import ReadClips, TrainingData
from animatediff.training.lessons.hinted import (
    DrawHints,
    HintedLesson,
    HintsOfFrames,
    PairedHints,
    ReadHinted,
    SparseLesson,
    Steered,
    denoise_pictures,
)
from animatediff.training.recipe import Recipe
from animatediff.training.stages.frozen_model import FrozenModel, read_frozen_model, trainable
from animatediff.training.stages.job import Job
from animatediff.training.stages.option_groups import ClipOptions, EncoderOptions, HintOptions
from animatediff.training.stages.own_data import read_own_data
from animatediff.training.stages.paper import lesson_on, read_clips
from animatediff.training.stages.stage_options import StageOptions
from animatediff.training.stages.training_data import (
    captioned,
    default_clips,
    read_own_clips,
    read_training_data,
)
from animatediff.training.stages.write_weights import write_part
from animatediff.weights.control.file import read_control
from animatediff.weights.control.fresh import EncoderName, new_controlnet, new_sparse_control
from animatediff.weights.control.names import STEM
from animatediff.weights.control.plan import plan_control
from animatediff.weights.control.sparse_control import SITES, file_names
from animatediff.weights.finding.builtin import resolve
from animatediff.weights.storage.files import sha256_of

STEM_FACTOR = 8
"""A ControlNet's stem makes hints this many times smaller."""
NAMES: Mapping[str, str] = {"canny": "edges"}
"""What a network is called, where not as its hints are."""


def prepare_control(options: StageOptions, recipe: Recipe, device: torch.device) -> Job:
    """A ControlNet that begins as the image model's own encoder, trained on pictures with hints.

    Raises:
        InputError: hints and pictures do not match, or the latents are not eight times smaller.
    """
    frozen = read_frozen_model(options, device=device)
    if frozen.base.pixels_per_latent != STEM_FACTOR:
        raise InputError(
            f"A ControlNet makes its hints {STEM_FACTOR} times smaller, and the latents of "
            f"{frozen.base.name} are {frozen.base.pixels_per_latent} times smaller than pictures; "
            f"use a model with latents {STEM_FACTOR} times smaller."
        )
    encoder, asked = _encoder(frozen), options.of(HintOptions)
    torch.manual_seed(0)
    network = Hinted(channels_last(new_controlnet(frozen.base.unet, encoder=encoder)))
    _continue(frozen, network)
    trainable(network)
    read, draw = _hinted(frozen)
    steered = Steered(denoise_pictures(frozen.base.unet), network)
    lesson = HintedLesson(
        lesson_on(frozen, network, steered, read, frozen.image_betas()),
        steered,
        ReadHinted(read, draw),
    )
    name = "hints" if asked.hint == "none" else NAMES.get(asked.hint, asked.hint)
    path = options.output or options.work / "world" / "control" / f"{name}.safetensors"
    facts = {"hint": asked.hint, "encoder": encoder, "family": frozen.family_name}

    def save(learned: dict[str, Tensor]) -> Path:
        named = {
            n.replace("stem.", f"{STEM}.", 1).removeprefix("net."): w for n, w in learned.items()
        }
        return write_part(path, named, kind="controlnet", options=recipe, facts=facts)

    return Job(lesson, save, frozen.facts, frozen)


def prepare_sparse_control(options: StageOptions, recipe: Recipe, device: torch.device) -> Job:
    """A SparseCtrl ``rgb`` network, trained on clips under frozen motion modules.

    Raises:
        InputError: there are no motion modules.
    """
    frozen = read_frozen_model(options, device=device)
    frozen.attach_adapter()
    animated, family = frozen.read_motion()
    encoder = _encoder(frozen)
    sites = list(animated.motion)
    if encoder == "small":
        last = len(frozen.base.unet.config["down_block_types"]) - 1
        sites = [s for s in sites if s.startswith("down_") and not s.startswith(f"down_{last}_")]
    torch.manual_seed(0)
    network = new_sparse_control(frozen.base.unet, encoder=encoder, sites=sites)
    _continue(frozen, network)
    trainable(channels_last(network))
    steered = Steered(animated, network)
    read = read_clips(options, read_training_data(frozen))
    lesson = SparseLesson(
        lesson_on(
            frozen,
            network,
            steered,
            read,
            family.betas,
            animated=animated,
            shared_noise=family.shared_noise,
        ),
        steered,
    )
    path = options.output or options.work / "world" / "control" / "pictures.safetensors"
    facts = {"family": family.name, "encoder": encoder}
    if encoder == "small":
        facts[SITES] = " ".join(network.motion)

    def save(learned: dict[str, Tensor]) -> Path:
        names = file_names(network)
        named = {names[name]: weight for name, weight in learned.items()}
        return write_part(path, named, kind="sparse-control", options=recipe, facts=facts)

    return Job(lesson, save, frozen.facts, frozen, family.betas)


def _encoder(frozen: FrozenModel) -> EncoderName:
    chosen = frozen.options.of(EncoderOptions).encoder
    return chosen or ("small" if frozen.is_default else "full")


def _continue(frozen: FrozenModel, network: nn.Module) -> None:
    """Fill a new network with the weights that the options name, if they name some.

    Raises:
        InputError: they are of another kind or size.
        FileError: they are of no control network, or of one for another image model.
    """
    name = frozen.options.of(EncoderOptions).begin_from
    if name is None:
        return
    path = resolve("control", name)
    unet = frozen.base.unet
    given = plan_control(read_control(path), unet).load(torch.float32, unet.device)
    assert isinstance(given, nn.Module)
    weights = given.state_dict()
    if type(given) is not type(network) or weights.keys() != network.state_dict().keys():
        raise InputError(
            f"{path} is a control network of another kind or size than this stage trains; choose its "
            "--encoder, full or small, or leave --begin-from out."
        )
    network.load_state_dict(weights)
    frozen.facts["begun_from"] = sha256_of(path)


def _hinted(frozen: FrozenModel) -> tuple[ReadClips, DrawHints]:
    """Return a reader of pictures, and one that draws or reads their hints."""
    options, asked = frozen.options, frozen.options.of(HintOptions)
    clips = options.of(ClipOptions)
    if asked.hints is not None:
        if clips.data is None:
            raise InputError(
                "--hints are for pictures of your own, and none were given; pass them with --data."
            )
        data = read_own_clips(frozen, clips.data, stills=True)
        hints = _paired(frozen, asked.hints)
        _check_pairs(data, hints)
        frozen.facts["hints"] = hints.fingerprint()
        read = read_clips(options, captioned(frozen, data), num_frames=1)
        return read, PairedHints(hints, 1, asked.hint)
    if asked.hint == "none":
        raise InputError(
            "--hint none takes hints as they are, and there are none; pass their folder with --hints, "
            "or choose what is drawn from the pictures, such as --hint canny."
        )
    if clips.data is None and _as_stored(frozen):
        assert options.defaults is not None
        pictures, hints = options.defaults.hinted(options.work, hint=asked.hint)
        read = read_clips(options, captioned(frozen, pictures), num_frames=1)
        return read, PairedHints(hints, 1)
    data: TrainingData
    if clips.data is not None:
        data = read_own_clips(frozen, clips.data, stills=True)
        if not isinstance(data, OwnClips):
            raise InputError(
                f"{clips.data} holds clips as they were encoded, and hints are drawn from pixels; give "
                "the clips that it was built from."
            )
    else:
        data = default_clips(frozen, pattern=None, degraded=False, pixels=True)
    read = read_clips(options, captioned(frozen, data), num_frames=1)
    return read, HintsOfFrames(asked.hint)


def _as_stored(frozen: FrozenModel) -> bool:
    """Whether all pictures of the defaults are used, at their own size."""
    clips = frozen.options.of(ClipOptions)
    return (
        frozen.options.defaults is not None
        and frozen.is_default
        and frozen.size == frozen.own_size
        and not clips.first_clip
        and clips.clips is None
    )


def _paired(frozen: FrozenModel, folder: Path) -> OwnClips:
    """The pictures of hints, read as the training pictures are."""
    options = frozen.options
    found = read_own_data(
        folder,
        replace(options.of(ClipOptions), layout="auto", videos=None),
        records=options.work / "data",
        num_frames=1,
        size=frozen.size,
        files=frozen.base.files,
        uses_captions=False,
    )
    if not isinstance(found, OwnClips):
        raise InputError(f"{folder} holds encoded clips; give pictures or videos as --hints.")
    return found


def _check_pairs(data: object, hints: OwnClips) -> None:
    """Refuse hints that are not those of the training pictures.

    Raises:
        InputError: a name is missing on one side, or a video has another length.
    """
    if not isinstance(data, OwnClips):
        raise InputError("--hints belong to pictures or videos, and --data holds encoded clips.")
    theirs = {s.entry.key: s.available(hints.fps) for s in hints.sources}
    own = {s.entry.key: s.available(data.fps) for s in data.sources}
    for missing, of, there in ((own.keys() - theirs.keys(), "--hints", "--data"),
                               (theirs.keys() - own.keys(), "--data", "--hints")):  # fmt: skip
        if missing:
            raise InputError(
                f"{min(missing)} is in {there} and not in {of}; both need files of the same names."
            )
    uneven = [key for key in own if own[key] != theirs[key]]
    if uneven:
        key = min(uneven)
        raise InputError(
            f"{key} has {own[key]} frames in --data and {theirs[key]} in --hints; both need the same."
        )
    if [s.entry.key for s in data.sources] != [s.entry.key for s in hints.sources]:
        raise InputError("--data repeats clips that --hints does not; repeat none.")
