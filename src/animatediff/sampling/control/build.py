"""From the control options of a request to what is asked at every step."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from animatediff.errors import InputError
from animatediff.model.control.network import ControlNetwork, Embedded
from animatediff.model.control.sparse_control import SparseControl
from animatediff.model.control.t2i_adapter import Adapted
from animatediff.model.control.union import HintedUnion
from animatediff.model.latent_space import posterior_of
from animatediff.runtime import dtype_of, seeded
from animatediff.sampling.ask import Control, Latents
from animatediff.sampling.control.counted import Counted
from animatediff.sampling.control.dense import DenseControl
from animatediff.sampling.control.frame_strengths import frame_strengths
from animatediff.sampling.control.hints import Hints, as_unit, read_hints
from animatediff.sampling.control.inputs import inputs_of
from animatediff.sampling.control.settings import ControlSetting, SparseHint, control_settings
from animatediff.sampling.control.sparse import SparseHints
from animatediff.sampling.image_to_video.way import reads_pictures
from animatediff.sampling.settled import Settled
from animatediff.sampling.text.conditions import Texts
from animatediff.video.containers import Frames
from animatediff.video.fit import fit_frames
from animatediff.video.pictures import read_picture
from animatediff.video.preprocess import preprocessed
from animatediff.weights.control.loader import LoadedControl
from animatediff.weights.image_model.base_model import BaseModel

CHUNK = 8
"""Hints that are embedded at a time."""


def build_controls(
    settled: Settled,
    *,
    controls: Sequence[LoadedControl],
    texts: Texts,
    base: BaseModel,
    still: Latents | None,
) -> list[Control]:
    """Read the hints of a request and embed them, once for all steps.

    Networks of strength 0, and SparseCtrl that has no picture yet, are left out. The others are in an
    order that does not depend on how they were given, so that their sum, which is rounded, does not
    either.

    Args:
        settled: the request.
        controls: its networks, in its order.
        texts: its prompts.
        base: the image model.
        still: the still that the animation begins from, if it does: the picture of a SparseCtrl model
            that was given none.

    Raises:
        FileError: a hint cannot be read.
        InputError: hints and networks do not match, or an option cannot be used.
    """
    settings = control_settings(settled.request)
    kinds = [isinstance(control.network, SparseControl) for control in controls]
    inputs = inputs_of(settled.request, kinds)
    rows = sorted(
        zip(settings, controls, inputs, strict=True),
        key=lambda row: (str(row[1].file.path), str(row[2]), repr(row[0])),
    )
    build = _Builder(settled, texts, base)
    built = [
        build.sparse(setting, control.network, still)
        if isinstance(control.network, SparseControl)
        else build.dense(setting, control.network, path)
        for setting, control, path in rows
        if setting.scale.least_and_most != (0, 0)
    ]
    return [control for control in built if control is not None]


class _Builder:
    """What all control networks of one request share."""

    def __init__(self, settled: Settled, texts: Texts, base: BaseModel) -> None:
        self.settled = settled
        self.request = settled.request
        self.texts = texts
        self.base = base
        self.device = base.device
        self.dtype = dtype_of(base.unet)

    def dense(
        self, setting: ControlSetting, network: ControlNetwork, path: Path | None
    ) -> DenseControl:
        """A network that follows a hint in every frame."""
        assert path is not None
        if isinstance(network, HintedUnion):
            network = network.for_type(self._hint_type(setting, network))
        if isinstance(network, Adapted):
            self._check_size(setting, network.squares)
        hints = self._hints(path)
        drawn = preprocessed(hints.frames, name=setting.preprocess)
        strengths = self._strengths(setting) * torch.tensor([row >= 0 for row in hints.rows])
        return DenseControl(
            network=network,
            embedded=self._embedded(network, as_unit(drawn)),
            rows=torch.tensor(hints.rows).clamp(min=0),
            counted=self._counted(setting, strengths),
            texts=self.texts,
            dtype=self.dtype,
        )

    def sparse(
        self, setting: ControlSetting, network: SparseControl, still: Latents | None
    ) -> SparseHints | None:
        """SparseCtrl, which follows hints in some frames; nothing while the still is not drawn yet."""
        request = self.request
        network.grafts.scale = request.sparse_motion
        pictures = sparse_pictures(self.settled, setting=setting, network=network)
        if pictures:
            places = list(pictures)
            unit = as_unit(preprocessed(np.stack(list(pictures.values())), name=setting.preprocess))
            hints = self._latents(unit) if network.version == "rgb" else unit
        elif request.from_still == 1 or not reads_pictures(network):
            raise InputError(
                f"{setting.name} is a SparseCtrl model that --image is not given to here; give it "
                "pictures with --sparse, or leave it out."
            )
        elif still is None:
            return None
        else:
            places, hints = [0], rearrange(still, "1 c f h w -> f c h w")[:1]
        with torch.inference_mode():
            embedded = network.embed(hints.to(self.device))
        return SparseHints(
            network=network,
            embedded=embedded,
            places={place: number for number, place in enumerate(places)},
            hinted=request.sparse_hinted,
            others=request.sparse_others,
            nearest=request.sparse_nearest,
            counted=self._counted(setting, self._strengths(setting)),
            texts=self.texts,
            dtype=self.dtype,
        )

    def _hint_type(self, setting: ControlSetting, network: HintedUnion) -> str:
        if setting.hint_type not in network.types:
            given = f", not {setting.hint_type!r}" if setting.hint_type else ""
            raise InputError(
                f"{setting.name} is a union ControlNet, which must be told what its hints are; set "
                f"--control-type to one of {', '.join(network.types)}{given}."
            )
        return setting.hint_type

    def _hints(self, path: Path) -> Hints:
        return read_hints(
            path,
            num_frames=self.settled.num_frames,
            width=self.settled.width,
            height=self.settled.height,
            fit=self.request.control_fit,
            missing=self.request.control_missing,
        )

    def _check_size(self, setting: ControlSetting, squares: int) -> None:
        width, height = self.settled.width, self.settled.height
        if width % squares or height % squares:
            raise InputError(
                f"The T2I-Adapter {setting.name} reads squares of {squares} x {squares} pixels, and "
                f"the animation has {width} x {height}; choose multiples of {squares}."
            )

    def _strengths(self, setting: ControlSetting) -> Float[Tensor, " f"]:
        return torch.tensor(frame_strengths(setting.strengths, num_frames=self.settled.num_frames))

    def _counted(self, setting: ControlSetting, strengths: Float[Tensor, " f"]) -> Counted:
        return Counted(
            scale=setting.scale,
            strengths=strengths,
            weights=setting.weights,
            steps=self.settled.steps,
            start=setting.start,
            end=setting.end,
            only_along=setting.only_along,
            mask=None if setting.mask is None else self._mask(setting.mask),
        )

    def _mask(self, path: Path) -> Float[Tensor, "f 1 h w"]:
        hints = self._hints(path)
        grey = as_unit(hints.frames).mean(dim=1, keepdim=True)
        given = torch.tensor([row >= 0 for row in hints.rows])
        return grey[torch.tensor(hints.rows).clamp(min=0)] * rearrange(given, "f -> f 1 1 1")

    def _embedded(self, network: ControlNetwork, pictures: Float[Tensor, "n 3 h w"]) -> Embedded:
        with torch.inference_mode():
            parts = [network.embed(part.to(self.device)) for part in pictures.split(CHUNK)]
        return tuple(torch.cat(each) for each in zip(*parts, strict=True))

    def _latents(self, pictures: Float[Tensor, "n 3 height width"]) -> Float[Tensor, "n c h w"]:
        """Latents of pictures in [0, 1]: the likeliest, or drawn with the request's seed."""
        vae = self.base.vae
        with torch.inference_mode():
            posterior = posterior_of(vae, (2 * pictures - 1).to(self.device, vae.dtype))
            if self.request.sparse_latents == "mode":
                latents = posterior.mode()
            else:
                latents = posterior.sample(seeded(self.request.seed, "sparse-control"))
        return latents * vae.config["scaling_factor"]


def sparse_pictures(
    settled: Settled, *, setting: ControlSetting, network: ControlNetwork
) -> dict[int, Frames]:
    """The pictures of a SparseCtrl model at the size of the animation, by their frame, rising.

    ``--image`` is the picture of frame 0 for a network that reads pictures.

    Raises:
        FileError: a picture cannot be read.
        InputError: a frame is not one of the animation, or two are the same.
    """
    hints = list(setting.pictures)
    if settled.image_way == "sparse-control" and reads_pictures(network):
        hints.append(SparseHint(Path(settled.request.image).expanduser(), 0))
    found: dict[int, Frames] = {}
    for hint in hints:
        if not -settled.num_frames <= hint.frame < settled.num_frames:
            raise InputError(
                f"--sparse names frame {hint.frame}, and the animation has {settled.num_frames}; the "
                "first is 0, the last -1."
            )
        place = hint.frame % settled.num_frames
        if place in found:
            raise InputError(
                f"Two pictures of {setting.name} are for frame {place} (--image is for frame 0); leave "
                "one out."
            )
        found[place] = fit_frames(
            read_picture(hint.path)[None],
            width=settled.width,
            height=settled.height,
            fit=settled.request.control_fit,
        )[0]
    return {place: found[place] for place in sorted(found)}


def pictures_for_colours(settled: Settled, controls: Sequence[LoadedControl]) -> dict[int, Frames]:
    """The pictures whose colours frames may be matched to, by their frame.

    Those of networks that read pictures; those of all SparseCtrl models if none does. Of two for one
    frame, the first network's counts.

    Raises:
        FileError: a picture cannot be read.
        InputError: a frame is not one of the animation, or two are the same.
    """
    rows = [
        (setting, control.network)
        for setting, control in zip(control_settings(settled.request), controls, strict=True)
        if isinstance(control.network, SparseControl)
    ]
    rows = [row for row in rows if reads_pictures(row[1])] or rows
    found: dict[int, Frames] = {}
    for setting, network in rows:
        found = sparse_pictures(settled, setting=setting, network=network) | found
    return found
