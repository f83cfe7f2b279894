"""Table of roles: the uses of a weight file, the option of each, and its loader.

To add a role:

1. Write its loader beside its other code: a ``Loader`` (``weights/loader.py``) that reads the header,
   checks that the file fits, and reads the values.
2. Add one row to ``ROLES``, or complete the one that waits there: the request's field that names its
   files, and the loader.
3. Declare that field in ``sampling/request.py``, and in ``Files`` of
   ``sampling/choosing/keywords.py``, for type checkers.

Everything else follows from the row: names are found in the folders, ``animatediff models`` lists and
pulls, ``inspect`` says which option takes the file, the animator loads it and offers it as
``animator.added[role]``, the request is refused if it names another, and the file's hash is stored
with the animation. Nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

RoleName = Literal[
    "model",
    "motion",
    "lora",
    "motion-lora",
    "vae",
    "embedding",
    "adapter",
    "control",
    "ip-adapter",
    "image-encoder",
    "camera",
    "object-motion",
    "upscaler",
    "interpolator",
]
Kind = Literal[
    "checkpoint",
    "unet",
    "text-encoder",
    "image-encoder",
    "vae",
    "tiny-autoencoder",
    "motion",
    "adapter",
    "motion-lora",
    "lora",
    "sparse-control",
    "controlnet",
    "t2i-adapter",
    "ip-adapter",
    "camera",
    "object-motion",
    "embedding",
    "upscaler",
    "interpolator",
    "other",
    "unknown",
]
"""What a file is for; ``other`` is a model of another project, ``unknown`` none that is known."""

NO_MOTION = "none"


@dataclass(frozen=True, kw_only=True)
class Role:
    """One use of a weight file.

    Attributes:
        name: also the command-line option, without dashes.
        title: name of its files, for sentences.
        kinds: the kinds of file (``inspect``) with this role.
        field: the field of ``AnimationRequest`` for its files; empty if there is no option yet.
        named_by: the attribute of a request with all its files, if not the field.
        several: whether a request may name several.
        scaled: whether a name may be followed by ``:scale``.
        per_request: whether files may change between the requests of one animator.
        default: file of a new animator if none is given.
        nothing: the name that means no file.
        own: its folders in our own model folder; ``models pull`` uses the first.
        a1111: its folders in a folder of AUTOMATIC1111's web interface.
        comfy: its folders in a ComfyUI folder.
        comfy_keys: its keys in ComfyUI's ``extra_model_paths.yaml``.
        is_folder_with: the file that marks a folder as one model of this role, when model folders
            are searched.
        may_be_folder: whether a folder of diffusers may be given.
        loader: ``module:name`` of a function that returns its ``Loader``; empty for parts of the base
            model.
    """

    name: RoleName
    title: str
    kinds: tuple[Kind, ...] = ()
    field: str = ""
    named_by: str = ""
    several: bool = False
    scaled: bool = False
    per_request: bool = False
    default: str = ""
    nothing: str = ""
    own: tuple[str, ...] = ()
    a1111: tuple[str, ...] = ()
    comfy: tuple[str, ...] = ()
    comfy_keys: tuple[str, ...] = ()
    is_folder_with: str = ""
    may_be_folder: bool = False
    loader: str = ""

    @property
    def option(self) -> str:
        """Its command-line option; empty if there is none yet."""
        return f"--{self.name}" if self.field else ""


_ROWS = (
    Role(
        name="model",
        title="model",
        kinds=("checkpoint",),
        field="model",
        default="emoji",
        own=("checkpoints",),
        a1111=("models/Stable-diffusion",),
        comfy=("models/checkpoints", "models/diffusers"),
        comfy_keys=("checkpoints", "diffusers"),
        is_folder_with="model_index.json",
        may_be_folder=True,
    ),
    Role(
        name="motion",
        title="motion",
        kinds=("motion",),
        field="motion",
        default="emoji",
        nothing=NO_MOTION,
        own=("motion",),
        a1111=("extensions/sd-webui-animatediff/model",),
        comfy=("models/animatediff_models",),
        comfy_keys=("animatediff_models",),
        is_folder_with="config.json",
        may_be_folder=True,
    ),
    Role(
        name="lora",
        title="LoRA",
        kinds=("lora",),
        field="loras",
        named_by="styles",
        several=True,
        scaled=True,
        per_request=True,
        own=("lora",),
        a1111=("models/Lora", "models/LyCORIS"),
        comfy=("models/loras",),
        comfy_keys=("loras",),
        loader="animatediff.weights.lora:Loras",
    ),
    Role(
        name="motion-lora",
        title="MotionLoRA",
        kinds=("motion-lora",),
        field="motion_loras",
        several=True,
        scaled=True,
        own=("motion_lora",),
        a1111=("models/Lora",),
        comfy=("models/animatediff_motion_lora",),
        comfy_keys=("animatediff_motion_lora",),
        loader="animatediff.weights.adapters:motion_loras",
    ),
    Role(
        name="vae",
        title="autoencoder",
        kinds=("vae",),
        field="vae",
        own=("vae",),
        a1111=("models/VAE",),
        comfy=("models/vae",),
        comfy_keys=("vae",),
        may_be_folder=True,
    ),
    Role(
        name="embedding",
        title="embeddings",
        kinds=("embedding",),
        field="embeddings",
        several=True,
        own=("embeddings",),
        a1111=("embeddings",),
        comfy=("models/embeddings",),
        comfy_keys=("embeddings",),
        loader="animatediff.weights.textual_inversion:Embeddings",
    ),
    Role(
        name="adapter",
        title="domain adapter",
        kinds=("adapter",),
        field="adapter",
        scaled=True,
        own=("adapter", "lora"),
        a1111=("models/Lora",),
        comfy=("models/loras",),
        comfy_keys=("loras",),
        loader="animatediff.weights.adapters:adapters",
    ),
    Role(
        name="control",
        title="control",
        kinds=("controlnet", "t2i-adapter", "sparse-control"),
        field="controls",
        several=True,
        scaled=True,
        own=("controlnet",),
        a1111=("models/ControlNet", "extensions/sd-webui-controlnet/models"),
        comfy=("models/controlnet", "models/t2i_adapter"),
        comfy_keys=("controlnet", "t2i_adapter"),
        is_folder_with="config.json",
        may_be_folder=True,
        loader="animatediff.weights.control.loader:Controls",
    ),
    Role(
        name="ip-adapter",
        title="IP-Adapter",
        kinds=("ip-adapter",),
        field="ip_adapters",
        several=True,
        scaled=True,
        own=("ip_adapter",),
        a1111=("models/ControlNet",),
        comfy=("models/ipadapter",),
        comfy_keys=("ipadapter",),
        loader="animatediff.weights.image_prompts.loader:IpAdapters",
    ),
    Role(
        name="image-encoder",
        title="image encoder",
        kinds=("image-encoder",),
        field="image_encoder",
        own=("image_encoder",),
        comfy=("models/clip_vision",),
        comfy_keys=("clip_vision",),
        is_folder_with="config.json",
        may_be_folder=True,
        loader="animatediff.weights.image_prompts.loader:ImageEncoders",
    ),
    Role(
        name="camera",
        title="camera control",
        kinds=("camera",),
        field="camera",
        scaled=True,
        own=("camera",),
        comfy=("models/animatediff_models",),
        comfy_keys=("animatediff_models",),
        loader="animatediff.weights.camera.loader:Cameras",
    ),
    Role(
        name="object-motion",
        title="object motion",
        kinds=("object-motion",),
        field="object_motion",
        scaled=True,
        own=("object_motion",),
        loader="animatediff.weights.camera.loader:ObjectMotions",
    ),
    Role(
        name="upscaler",
        title="upscaler",
        kinds=("upscaler",),
        field="upscaler",
        per_request=True,
        own=("upscaler",),
        a1111=("models/ESRGAN", "models/RealESRGAN"),
        comfy=("models/upscale_models",),
        comfy_keys=("upscale_models",),
    ),
    Role(
        name="interpolator",
        title="frame interpolator",
        kinds=("interpolator",),
        field="interpolator",
        per_request=True,
        own=("interpolator",),
        comfy=("models/frame_interpolation",),
        comfy_keys=("frame_interpolation",),
    ),
)
ROLES: Mapping[RoleName, Role] = {role.name: role for role in _ROWS}
"""Every role by its name, in the order in which files are loaded and listed."""
assert tuple(ROLES) == get_args(RoleName)


def usable_roles() -> tuple[Role, ...]:
    """Return the roles that have an option of ``animate``."""
    return tuple(role for role in ROLES.values() if role.field)
