"""Find the file that a name or path means: built-in, in a model folder, pulled, or anywhere on disk.

Nothing here imports torch or reads more of a weight file than its first bytes, so that a wrong name
or file is reported at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from animatediff.config import nearest
from animatediff.errors import FileError, InputError, reason_of
from animatediff.weights.finding.catalog import catalog
from animatediff.weights.finding.folders import find, find_in_hub_cache, list_found
from animatediff.weights.finding.model_folders import ModelFile, ModelFolder, weight_file
from animatediff.weights.roles import NO_MOTION, ROLES, RoleName
from animatediff.weights.storage.foreign_files import START, foreign_file

MOST_SHOWN = 8
"""As many of the user's own files as a message lists."""
BUILTIN = Path(__file__).resolve().parents[2] / "builtin"


@dataclass(frozen=True)
class Listed:
    """A file that can be given by name.

    Attributes:
        kind: its role.
        name: its name.
        about: one line that describes it.
    """

    kind: RoleName
    name: str
    about: str

    def __str__(self) -> str:
        return f"{self.kind:<11} {self.name:<18} {self.about}"


_LISTED = (
    Listed("model", "emoji", "the image model of the built-in world, 128 px"),
    Listed("model", "emoji-noto", "the same, all of it trained further on the Noto style"),
    Listed("motion", "emoji", "motion modules, trained on 3D clips of 16 frames"),
    Listed("motion", "emoji-conv", "their convolutional rival of equal size"),
    Listed("lora", "noto", "the Noto style for the model emoji, as a low-rank update"),
    Listed("adapter", "emoji", "what is only the look of stock footage, watermark and all"),
    Listed("motion", "emoji-adapted", "motion modules trained on such footage, with that adapter"),
    Listed("motion", "emoji-unadapted", "the same without it, to compare"),
    *(
        Listed("motion-lora", f"{move}-{way}", f"a camera that {does}, for the motion emoji")
        for move, way, does in (
            ("zoom", "in", "zooms in"),
            ("zoom", "out", "zooms out"),
            ("pan", "left", "pans left"),
            ("pan", "right", "pans right"),
            ("tilt", "up", "tilts up"),
            ("tilt", "down", "tilts down"),
            ("roll", "clockwise", "rolls clockwise"),
            ("roll", "anticlockwise", "rolls anticlockwise"),
        )
    ),
    Listed(
        "motion-lora", "heartbeat", "things beat as the heart of one clip, for the motion emoji"
    ),
    Listed("embedding", "noto", "a word for the Noto style, <noto>"),
    Listed("control", "edges", "a ControlNet: every frame follows edges, for the model emoji"),
    Listed(
        "control", "shape", "a ControlNet: every frame follows silhouettes, for the model emoji"
    ),
    Listed(
        "control", "pictures", "a SparseCtrl network: begins with pictures, for the motion emoji"
    ),
    Listed("upscaler", "emoji", "from 128 to 512 px, for the flat art of the built-in world"),
)


def list_models() -> list[Listed]:
    """List everything that can be given by name."""
    return [listed for listed in _LISTED if _builtin_path(listed.kind, listed.name).exists()]


OWN_UPSCALER = "emoji"
"""The upscaler of the package, trained on what its image models draw."""
OWN_PICTURE_NETWORK = "pictures"
"""The SparseCtrl network of the package, trained under the motion modules ``OWN_MOTION``."""
OWN_MOTION = "emoji"


def own_upscaler(model: str) -> str:
    """Return the upscaler that was trained on what an image model draws.

    Args:
        model: name or path of the image model.

    Returns:
        Its name; empty for models that are not built in, and where this installation lacks the file.
    """
    installed = _builtin_path("upscaler", OWN_UPSCALER).exists()
    return OWN_UPSCALER if installed and _is_listed("model", model) else ""


def own_picture_network(model: str, *, motion: str) -> str:
    """Return the SparseCtrl network that was trained on an image model and its motion modules.

    Args:
        model: name or path of the image model.
        motion: name or path of the motion module.

    Returns:
        Its name; empty for others, and where this installation lacks the file.
    """
    installed = _builtin_path("control", OWN_PICTURE_NETWORK).exists()
    own = motion == OWN_MOTION and _is_listed("model", model)
    return OWN_PICTURE_NETWORK if installed and own else ""


def default_upscaler() -> Path:
    """Return the built-in upscaler, for enlargements that name none.

    Raises:
        InputError: this installation has none.
    """
    path = _builtin_path("upscaler", OWN_UPSCALER)
    if not path.exists():
        raise InputError(
            "--upscale needs --upscaler FILE, a network of ESRGAN, its compact form or RealPLKSR: this "
            "installation has no upscaler of its own."
        )
    return path


def resolve_model(name_or_path: str) -> ModelFolder | ModelFile:
    """Return the folder or file of an image model, by name or path.

    Raises:
        InputError: there is no such name, file or folder.
        FileError: the name is right, but this installation lacks the weights.
    """
    if _is_listed("model", name_or_path):
        path = _installed("model", name_or_path)
        shared = None if name_or_path == "emoji" else _builtin_path("model", "emoji")
        return ModelFolder(name_or_path, path, shared)
    path = resolve("model", name_or_path)
    if path.is_dir():
        return ModelFolder(path.resolve().name, path)
    return ModelFile(path.stem, path)


def resolve_motion(name_or_path: str) -> Path | None:
    """Return the file of a motion module, by name or path; ``None`` for the name ``none``.

    Raises:
        InputError, FileError: as for ``resolve``.
    """
    return None if name_or_path == NO_MOTION else resolve("motion", name_or_path)


def resolve_lora(name_or_path: str) -> Path:
    """Return the file of a LoRA, by name or path without a scale.

    Raises:
        InputError, FileError: as for ``resolve``.
    """
    return resolve("lora", name_or_path)


def resolve(role: RoleName, name_or_path: str) -> Path:
    """Return the file (for models and autoencoders, also the folder) that a name or path means.

    The folder of a motion module means the weights in it.

    Searched in this order: built-in names, paths, names in the model folders, pulled published
    models, the local cache of Hugging Face.

    Raises:
        InputError: nothing has that name, or several files have it.
        FileError: the name is right, but this installation lacks the weights.
    """
    if _is_listed(role, name_or_path):
        return _installed(role, name_or_path)
    path = Path(name_or_path).expanduser()
    if path.is_file() or (path.is_dir() and ROLES[role].may_be_folder):
        return _weights_of(role, path)
    found = find(role, name_or_path)
    published = catalog().get(name_or_path)
    if found is None and published is not None and published.role == role:
        if not published.path.is_file():
            raise InputError(
                f"{name_or_path} is not here; animatediff models pull {name_or_path} fetches it."
            )
        found = published.path
    found = found or find_in_hub_cache(name_or_path)
    if found is None:
        raise _folder(role, path) if path.is_dir() else _unknown(role, name_or_path)
    return _weights_of(role, found)


def _weights_of(role: RoleName, path: Path) -> Path:
    """Return the path itself; for a folder of a role with one network, the weight file in it.

    Raises:
        FileError: it is a text, a picture, an archive or another file without weights.
    """
    weights = _file_of(role, path)
    if weights.is_file():
        _check_weights(role, weights)
    return weights


def _check_weights(role: RoleName, path: Path) -> None:
    """Raise before anything is loaded if a file is none of weights by its first bytes."""
    try:
        with path.open("rb") as file:
            start = file.read(START)
    except OSError as error:
        raise FileError(f"{path} cannot be read: {reason_of(error)}.") from None
    # An empty file is still where its name says; who reads it says so.
    foreign = foreign_file(start) if start else None
    if foreign is not None:
        from animatediff.weights.inspection.kinds import KINDS

        *others, last = (KINDS[kind].title for kind in ROLES[role].kinds)
        needed = f"{', '.join(others)} or {last}" if others else last
        raise FileError(
            f"{path} is {foreign.title}; {ROLES[role].option} needs {needed}: {foreign.advice}."
        )


def _file_of(role: RoleName, path: Path) -> Path:
    if role == "control" and path.is_dir():
        return weight_file(path, part="unet")
    if role == "image-encoder" and path.is_dir():
        from animatediff.weights.image_prompts.image_encoder import encoder_weights

        return encoder_weights(path)
    if role != "motion" or not path.is_dir():
        return path
    from animatediff.weights.motion_adapter import adapter_weights

    return adapter_weights(path)


def _is_listed(kind: RoleName, name: str) -> bool:
    return any((listed.kind, listed.name) == (kind, name) for listed in _LISTED)


def _builtin_path(kind: RoleName, name: str) -> Path:
    return BUILTIN / name if kind == "model" else BUILTIN / kind / f"{name}.safetensors"


def _installed(kind: RoleName, name: str) -> Path:
    path = _builtin_path(kind, name)
    if not path.exists():
        raise FileError(f"The built-in {kind} {name} is not in this installation ({path}).")
    return path


def _folder(role: RoleName, path: Path) -> InputError:
    """Return the error for a folder where a file is needed; PEFT and diffusers write one into it."""
    inside = sorted(path.glob("*.safetensors"))
    what = f"the file in it, {inside[0]}" if len(inside) == 1 else "one of the files in it"
    return InputError(f"{path} is a folder, and {ROLES[role].option} needs a file; give {what}.")


def _of_another_role(role: RoleName, name: str) -> RoleName | None:
    """Return the first other role that has a file of exactly this name."""
    for other in ROLES.values():
        if other.name != role and other.option:
            built_in = (listed.name for listed in list_models() if listed.kind == other.name)
            if name in (*built_in, *(found.name for found in list_found(other.name))):
                return other.name
    return None


def _unknown(role: RoleName, name: str) -> InputError:
    built_in = [listed.name for listed in list_models() if listed.kind == role]
    own = [found.name for found in list_found(role)]
    published = [known for known, model in catalog().items() if model.role == role]
    otherwise = "a .safetensors file" + (
        " or a diffusers folder" if ROLES[role].may_be_folder else ""
    )
    elsewhere = _of_another_role(role, name)
    if elsewhere:
        option = ROLES[elsewhere].option
        return InputError(
            f"There is no {role} {name!r:.80}, but a {elsewhere} of that name; give it to {option}."
        )
    close = nearest(name, [*built_in, *own, *published])
    if close:
        return InputError(f"There is no {role} {name!r:.80}; did you mean {close}?")
    shown = [*built_in, *own[:MOST_SHOWN]]
    if len(own) > MOST_SHOWN:
        shown.append(f"one of {len(own) - MOST_SHOWN} more that animatediff models lists")
    return InputError(f"There is no {role} {name!r:.80}; it is {' or '.join([*shown, otherwise])}.")
