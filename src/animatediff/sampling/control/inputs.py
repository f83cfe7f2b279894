"""Which input each control network follows, and the files behind it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from animatediff.errors import FileError, InputError
from animatediff.sampling.control.settings import control_settings, sparse_hints
from animatediff.video.material import files_of
from animatediff.weights.control.file import read_control
from animatediff.weights.finding.builtin import resolve

if TYPE_CHECKING:
    from animatediff.sampling.request import AnimationRequest


def inputs_of(request: AnimationRequest, sparse: Sequence[bool]) -> list[Path | None]:
    """The input of each control network; nothing for SparseCtrl, which takes ``--sparse``.

    Args:
        request: the request.
        sparse: whether each of its networks is SparseCtrl.

    Raises:
        InputError: inputs and networks do not match.
    """
    needed, given = sparse.count(False), len(request.control_inputs)
    if needed != given:
        raise InputError(
            f"{needed} of the control networks follow an input for every frame, and {given} were "
            "given; give --control-input once for each, in the order of --control."
        )
    if any(sparse) and not (request.sparse or request.image or request.from_still not in (None, 1)):
        raise InputError(
            "A SparseCtrl model needs pictures and their frames; give them with --sparse, such as "
            "--sparse first.png@0, or one to begin with with --image."
        )
    if request.sparse and not any(sparse):
        raise InputError(
            "--sparse is for a SparseCtrl model, and none of the control networks is one; give "
            "--control-input."
        )
    _check_numbered(request, sparse)
    paths = iter(request.control_inputs)
    return [None if is_sparse else Path(next(paths)).expanduser() for is_sparse in sparse]


def _check_numbered(request: AnimationRequest, sparse: Sequence[bool]) -> None:
    """Check that pictures for one network are for a SparseCtrl model, and that none is left without."""
    numbers = [hint.number for hint in sparse_hints(request)]
    for number, is_sparse in enumerate(sparse, start=1):
        if number in numbers and not is_sparse:
            raise InputError(
                f"--sparse names the control network number {number}, which is no SparseCtrl model; "
                "count them from 1 in the order of --control, and give others --control-input."
            )
        if is_sparse and numbers and not {None, number} & {*numbers} and not request.image:
            raise InputError(
                f"The control network number {number} is a SparseCtrl model without a picture; give it "
                f"one with --sparse, such as {number}=first.png@0."
            )


def check_control_files(request: AnimationRequest) -> None:
    """Check networks and inputs of a request by their headers and names, before a model is loaded.

    Raises:
        InputError: inputs and networks do not match, or there is no such network.
        FileError: a network's file is broken or something else, or an input is missing.
    """
    files = [read_control(resolve("control", s.name)) for s in control_settings(request)]
    inputs_of(request, [file.found.kind == "sparse-control" for file in files])
    control_files(request)


def control_files(request: AnimationRequest) -> dict[str, tuple[Path, ...]]:
    """Every file that control networks follow, or that their hints are drawn with, by its role.

    Raises:
        FileError: one is missing.
        InputError: the weights of a preprocessor are not installed.
    """
    found: dict[str, tuple[Path, ...]] = {}
    for number, name in enumerate(request.control_inputs, start=1):
        found[f"control-input:{number}"] = files_of(Path(name).expanduser())
    settings = control_settings(request)
    if any(setting.preprocess == "hed" for setting in settings):
        from animatediff.video.detectors.hed import hed_file

        found["hed"] = (hed_file(),)
    masks = [setting.mask for setting in settings if setting.mask is not None]
    for number, mask in enumerate(dict.fromkeys(masks), start=1):
        found[f"control-mask:{number}"] = files_of(mask)
    for hint in sparse_hints(request):
        if not hint.path.is_file():
            raise FileError(
                f"{hint.path} is missing; --sparse needs a picture, such as first.png@0."
            )
        network = "" if hint.number is None else f"{hint.number}="
        found[f"sparse:{network}{hint.frame}"] = (hint.path,)
    return found
