"""``animatediff doctor``: report what this machine has and lacks, one finding per line."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement

from animatediff.apps.destination import MIN_FREE_BYTES

ENCODERS = {"libx264": "MP4", "libvpx-vp9": "WebM"}
MIN_PYTHON = (3, 11)


@dataclass(frozen=True)
class DoctorOptions:
    """There are no options."""


@dataclass(frozen=True)
class Finding:
    """One finding.

    Attributes:
        topic: the part of the machine.
        well: whether it is as it should be.
        text: what was found, and the remedy if it is not well.
    """

    topic: str
    well: bool
    text: str


def doctor(options: DoctorOptions) -> int:
    """Print every finding; returns 0 if all is well, 1 otherwise."""
    del options
    findings = [*_versions(), *_devices(), *_encoders(), *_disk(), *_weights()]
    for finding in findings:
        print(f"{'ok ' if finding.well else 'BAD'}  {finding.topic:<9} {finding.text}")
    ills = sum(not finding.well for finding in findings)
    print("All is well." if not ills else f"{ills} of {len(findings)} findings need attention.")
    return 1 if ills else 0


def _versions() -> Iterator[Finding]:
    """Compare installed packages with the minimum versions that this package declares."""
    good = sys.version_info >= MIN_PYTHON
    needed = "" if good else f"; at least {'.'.join(map(str, MIN_PYTHON))} is needed"
    system = f"{platform.system()} {platform.machine()}"
    yield Finding("python", good, f"{platform.python_version()} on {system}{needed}")
    try:
        declared = importlib.metadata.requires("animatediff") or []
    except importlib.metadata.PackageNotFoundError:
        yield Finding(
            "package", False, "animatediff runs from source; pip install -e . checks what it needs"
        )
        return
    for requirement in map(Requirement, declared):
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield _version(requirement)


def _version(requirement: Requirement) -> Finding:
    name, floor = requirement.name, requirement.specifier
    try:
        found = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return Finding("package", False, f"{name} is missing; pip install '{name}{floor}'")
    if floor.contains(found, prereleases=True):
        return Finding("package", True, f"{name} {found} ({floor})")
    return Finding("package", False, f"{name} {found} is not {floor}; pip install '{name}{floor}'")


def _devices() -> Iterator[Finding]:
    import torch

    cores = os.cpu_count() or 1
    yield Finding("device", True, f"cpu, {cores} cores, {torch.get_num_threads()} torch threads")
    for index in range(torch.cuda.device_count()):
        facts = torch.cuda.get_device_properties(index)
        memory = facts.total_memory / 2**30
        yield Finding("device", True, f"cuda:{index}, {facts.name}, {memory:.0f} GiB")
    if torch.backends.mps.is_available():
        yield Finding("device", True, "mps")


def _encoders() -> Iterator[Finding]:
    from av.codec import Codec
    from av.error import FFmpegError
    from PIL import features

    for codec, container in ENCODERS.items():
        try:
            Codec(codec, "w")
        except (FFmpegError, ValueError):
            remedy = f"the av wheels of PyPI have it; without it, {container} cannot be written"
            yield Finding("encoder", False, f"{codec} is missing; {remedy}")
        else:
            yield Finding("encoder", True, f"{codec} for {container}")
    webp = bool(features.check("webp"))
    yield Finding("encoder", webp, f"WebP {'by Pillow' if webp else 'is missing from Pillow'}")


def _disk() -> Iterator[Finding]:
    for what, folder in (("here", Path.cwd()), ("temporary", Path(tempfile.gettempdir()))):
        free = shutil.disk_usage(folder).free
        writable = os.access(folder, os.W_OK)
        note = "" if writable else ", not writable"
        yield Finding(
            "disk",
            writable and free >= MIN_FREE_BYTES,
            f"{free / 2**30:.1f} GiB free {what} ({folder}{note})",
        )


def _weights() -> Iterator[Finding]:
    """Check every built-in weight file: whether it is complete, and its hash."""
    from animatediff.errors import FileError
    from animatediff.weights.finding.builtin import BUILTIN
    from animatediff.weights.storage.files import read_header, sha256_of

    files = sorted(BUILTIN.rglob("*.safetensors"))
    if not files:
        yield Finding("weights", False, f"no built-in weights in {BUILTIN}; install the package")
    for file in files:
        try:
            read_header(file)
        except FileError as error:
            yield Finding("weights", False, str(error))
            continue
        megabytes, digest = file.stat().st_size / 1e6, sha256_of(file)[:10]
        name = file.relative_to(BUILTIN).as_posix()
        yield Finding("weights", True, f"{name}, {megabytes:.1f} MB, sha256 {digest}...")
