"""The files of an image model: a diffusers folder with one folder for each part, or one file.

Nothing here opens a weight file or imports torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from animatediff.errors import FileError

WEIGHT_STEMS: Mapping[str, str] = {
    "unet": "diffusion_pytorch_model",
    "vae": "diffusion_pytorch_model",
    "text_encoder": "model",
    "text_encoder_2": "model",
}
"""The parts of an image model that have weights, and what diffusers calls their files."""
OPTIONAL_PARTS = ("text_encoder_2",)
"""What only SDXL has."""


@dataclass(frozen=True)
class ModelFolder:
    """An image model in diffusers' layout: one folder for each part.

    Attributes:
        name: its name in results and messages.
        path: the folder.
        shared: the folder of another model, which provides the missing parts.
    """

    name: str
    path: Path
    shared: Path | None = None

    def part(self, name: str) -> Path:
        """Return the folder or file of one part.

        Raises:
            FileError: neither this model nor ``shared`` has it.
        """
        for folder in (self.path, self.shared):
            if folder is not None and (folder / name).exists():
                return folder / name
        raise FileError(f"{self.path} is not a whole diffusers folder: it has no {name}.")

    def weights(self) -> dict[str, Path]:
        """Return the weight file of every part that has one.

        Raises:
            FileError: a part is missing or has only pickles.
        """
        return {
            name: weight_file(self.part(name), part=name)
            for name in WEIGHT_STEMS
            if name not in OPTIONAL_PARTS or (self.path / name).is_dir()
        }


@dataclass(frozen=True)
class ModelFile:
    """An image model in one file.

    Attributes:
        name: its name in results and messages.
        path: the file.
    """

    name: str
    path: Path

    def weights(self) -> dict[str, Path]:
        """Return the file, as the part ``model``."""
        return {"model": self.path}


def weight_file(folder: Path, *, part: str) -> Path:
    """Return the weight file in the folder of one part.

    Raises:
        FileError: there is none, or it is a pickle.
    """
    stem = WEIGHT_STEMS[part]
    for suffix in (".safetensors", ".fp16.safetensors"):
        if (folder / f"{stem}{suffix}").is_file():
            return folder / f"{stem}{suffix}"
    pickles = any(folder.glob("*.bin")) or any(folder.glob("*.ckpt"))
    reason = "only pickles, which can run programs" if pickles else "no weights"
    raise FileError(f"{folder} has {reason}; it needs {stem}.safetensors.")
