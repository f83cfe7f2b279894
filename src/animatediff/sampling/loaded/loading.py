"""Load the files of an animator; all are checked against each other before any is read.

Sec. 4.4 of Guo et al., arXiv 2307.04725: a personalised image model with motion modules that were
trained once, without it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from animatediff.errors import Cancelled, InputError
from animatediff.model.animated_unet import AnimatedUNet
from animatediff.model.quantised import check_quantisation, quantise
from animatediff.runtime import Runtime
from animatediff.sampling.image_to_video.own_network import own_network_for, uses_own_network
from animatediff.sampling.loaded.lora_cache import LoraCache
from animatediff.sampling.loaded.memory import memory_named
from animatediff.sampling.loaded.motion_choice import check_motion
from animatediff.sampling.options.scaled_names import parse_lora
from animatediff.sampling.request import AnimationRequest
from animatediff.sampling.text.learned_words import named_in_folders, read_named
from animatediff.sampling.text.typed_motion_loras import with_typed_motion_loras
from animatediff.weights.families import Betas, Family, Numerics
from animatediff.weights.finding.builtin import resolve, resolve_model, resolve_motion
from animatediff.weights.image_model.base_model import BaseModel, plan_base_model
from animatediff.weights.loader import Host, Loader, loader_of
from animatediff.weights.motion import AUTO, fill_motion, inflate, read_motion
from animatediff.weights.motion_picture import PictureInput, load_picture
from animatediff.weights.roles import ROLES, Role, RoleName, usable_roles
from animatediff.weights.storage.read_ahead import first_read, read_ahead

IMAGE_FAMILY = Family(name="image")
"""What an image model by itself goes by, when no motion module decides."""


@dataclass(frozen=True)
class Loaded:
    """The files of an animator: the values of the request's fields that name files.

    Attributes:
        named: names of files by field, without scales, and the numerics; other values need another
            animator.
        values: by field, with the scales for requests that name no file for the field.
        typed: textual inversions in the model folders that only prompts name; optional for a
            request.
        own_network: the package's network for pictures and stills, if it suits these files.
    """

    named: Mapping[str, Any]
    values: Mapping[str, Any] = field(compare=False)
    typed: tuple[str, ...] = field(default=(), compare=False)
    own_network: str = ""

    @classmethod
    def of(cls, request: AnimationRequest) -> Loaded:
        """Return the files of a request."""
        request = with_typed_motion_loras(request)
        how = {"family": request.family, "numerics": request.numerics or "faithful"}
        values = {role.field: _value(role, getattr(request, role.field)) for role in _KEPT}
        names = {role.field: _names(role, values[role.field]) for role in _KEPT}
        own = {Path(name).stem.lower() for name in request.embeddings}
        texts = (
            request.prompt,
            request.negative_prompt,
            *request.prompts.values(),
            *request.negative_prompts.values(),
            *request.regions,
        )
        typed = tuple(name for name in named_in_folders(texts) if name.lower() not in own)
        network = own_network_for(request)
        if network:  # which a settled request names
            names["controls"] = values["controls"] = ()
        return cls({**names, **how}, {**values, **how}, typed, network)

    def filled(self, request: AnimationRequest) -> AnimationRequest:
        """Return the request with every file that it leaves open as it is loaded."""
        unsaid = (None, "", (), AUTO)
        values = {
            field: value
            for field, value in self.values.items()
            if getattr(request, field) in unsaid
        }
        return replace(request, **values)

    def complete(
        self, request: AnimationRequest, *, words: Collection[str] = ()
    ) -> AnimationRequest:
        """Return the request with the loaded textual inversions that its prompts name.

        Args:
            request: a valid request, ``filled``.
            words: the learned words that are loaded, in lower case.

        Raises:
            InputError: it names other files, which need another animator.
        """
        asked = Loaded.of(request)
        # A word that only a prompt names is loaded with the first request, and may be used or not.
        typed = {*self.typed, *asked.typed}
        lacks = uses_own_network(request) and not self.own_network
        if lacks or asked._without(typed) != self._without(typed):
            raise InputError(
                f"The request is for {asked}, and this animator has {self}; "
                "load another animator for it."
            )
        # So that the file says which words were read, whatever folders another machine has.
        used = tuple(name for name in asked.typed if name.lower() in words)
        return replace(request, embeddings=(*request.embeddings, *used))

    @property
    def motion(self) -> str:
        """The motion module's name, or ``none``."""
        return self.values["motion"]

    @property
    def numerics(self) -> Numerics:
        """Numerics of the group norms."""
        return self.values["numerics"]

    def _without(self, words: Collection[str]) -> dict[str, Any]:
        """Return the names without some textual inversions."""
        kept = tuple(name for name in self.named["embeddings"] if name not in words)
        return {**self.named, "embeddings": kept}

    def __str__(self) -> str:
        base = f"model {self.values['model']}, motion {self.motion}"
        family = f" as {self.values['family']}" if self.values["family"] != AUTO else ""
        rest = [
            f", {role.title} {' and '.join(self.named[role.field])}"
            for role in _KEPT
            if role.field not in ("model", "motion") and self.named[role.field]
        ]
        numerics = f", {self.numerics} numerics" if self.numerics != "faithful" else ""
        return f"{base}{family}{''.join(rest)}{numerics}"


def files_named(request: AnimationRequest) -> dict[str, Path]:
    """Return every weight file that affects a request's result, by role.

    Raises:
        InputError: a file does not exist.
        FileError: a built-in file is not installed.
    """
    files = resolve_model(request.model or ROLES["model"].default).weights()
    for role in usable_roles():
        if role.name != "model":
            value = _value(role, getattr(request, role.named_by or role.field))
            files |= _by_name(role, [resolve(role.name, name) for name in _names(role, value)])
    return files


def files_used(files: Mapping[str, Path], request: AnimationRequest) -> dict[str, Path]:
    """Return the loaded files that a settled request uses; control networks are those it names."""
    return {
        role: path
        for role, path in files.items()
        if request.controls or not role.startswith("control:")
    }


def _value(role: Role, value: Any) -> Any:
    """Return the value of a request's field, or a new animator's default."""
    return tuple(value) if role.several else value or role.default


def _names(role: Role, value: Any) -> tuple[str, ...]:
    """Return the files that a field names, without scales."""
    texts = value if role.several else (value,)
    named = [text for text in texts if text and text != role.nothing]
    return tuple(parse_lora(text)[0] if role.scaled else text for text in named)


def _by_name(role: Role, paths: Sequence[Path]) -> dict[str, Path]:
    """Name files as results do: ``adapter``, or ``lora:noto`` where there may be several."""
    return {f"{role.name}:{path.stem}" if role.several else role.name: path for path in paths}


_KEPT = tuple(role for role in usable_roles() if not role.per_request)


@dataclass(frozen=True)
class Parts:
    """The loaded parts of one animator; see ``Animator``."""

    base: BaseModel
    animated: AnimatedUNet
    loras: LoraCache
    family: Family
    loaded: Loaded
    files: dict[str, Path]
    added: Mapping[RoleName, tuple[Any, ...]]
    notes: tuple[str, ...]
    picture: PictureInput | None

    @property
    def waiting(self) -> tuple[Any, ...]:
        """What has its weights where ``Runtime.weights_device`` says."""
        return (self.base.networks, self.base.pending_vae, self.animated, self.added)

    def only(self, role: RoleName) -> Any:
        """The file of a role that takes one file; ``None`` if there is none."""
        return next(iter(self.added.get(role, ())), None)


def load_parts(
    loaded: Loaded,
    *,
    loras: Sequence[str],
    most_loras: int,
    runtime: Runtime,
    should_stop: Callable[[], bool] = lambda: False,
) -> Parts:
    """Load the files that ``loaded`` names; all are checked against each other first.

    Args:
        loaded: model, motion module, and additions.
        loras: LoRAs to load now, each ``name-or-file:scale``.
        most_loras: number of LoRAs kept in memory between requests.
        runtime: where to run.
        should_stop: asked before each network is read.

    Raises:
        Cancelled: ``should_stop`` said so.
        InputError: a name, a device or a precision is unknown, or weights cannot be quantised.
        FileError: a file is broken or of another kind.
        MemoryLimitError: the model does not fit.
    """

    def go_on() -> None:
        if should_stop():
            raise Cancelled("Cancelled while the model was loaded.")

    runtime.apply()
    device, dtype = runtime.torch_device(), runtime.torch_dtype()
    weights_device = runtime.weights_device()
    if runtime.quantise is not None:
        check_quantisation(runtime.quantise, device=device, dtype=dtype)
    motion_path = resolve_motion(loaded.motion)
    roles = [role for role in usable_roles() if role.loader]
    names: dict[RoleName, Sequence[str]] = {
        role.name: _names(role, loras if role.per_request else loaded.values[role.field])
        for role in roles
    }
    if loaded.own_network:
        names["control"] = [loaded.own_network]
    loaders: dict[RoleName, Loader[Any, Any, Any]] = {
        role.name: loader_of(role) for role in roles if names[role.name]
    }
    paths = {name: [resolve(name, each) for each in names[name]] for name in loaders}
    read = {name: [loader.read(path) for path in paths[name]] for name, loader in loaders.items()}
    model = resolve_model(loaded.values["model"])
    check_motion(model, motion_path)
    go_on()
    vae = resolve("vae", loaded.values["vae"]) if loaded.values["vae"] else None
    # To build a network imports libraries for seconds, in which the disk would have nothing to do.
    read_ahead(first_read(model, motion_path))
    plan = plan_base_model(model, vae=vae)
    module = (
        read_motion(motion_path, family=loaded.values["family"], numerics=loaded.numerics)
        if motion_path is not None
        else None
    )
    if module is not None:
        animated = inflate(plan.unet, module)
    else:
        animated = AnimatedUNet(plan.unet, heads=1)
        animated.remove()
    host = Host(animated, plan.networks, has_motion=module is not None)
    fitted = {name: loader.fit(read[name], host) for name, loader in loaders.items()}
    with memory_named("Loading the model"):
        base = plan.load(
            dtype=dtype, device=device, weights_device=weights_device, before_each=go_on
        )
        go_on()
        if module is not None:
            fill_motion(animated, module, dtype=dtype, device=weights_device)
        picture = (
            load_picture(module.picture, base.unet, device=device)
            if module is not None and module.picture is not None
            else None
        )
        extra, word_notes = read_named(loaded.typed, base=base)
        known = {file.name for file in fitted.get("embedding", ())}
        extra = [file for file in extra if file.name not in known]
        if extra:
            loaders["embedding"] = loader_of(ROLES["embedding"])
            fitted["embedding"] = [*fitted.get("embedding", ()), *extra]
            found = [file.header.path for file in extra]
            paths["embedding"] = [*paths.get("embedding", ()), *found]
        added: dict[RoleName, tuple[Any, ...]] = {}
        for name, loader in loaders.items():
            go_on()
            added[name] = tuple(loader.fill(fitted[name], base, dtype=dtype, device=weights_device))
        # At last, as control networks may be made of these weights.
        if runtime.quantise is not None:
            quantise(animated, runtime.quantise)
    files = dict(base.files)
    if motion_path is not None:
        files["motion"] = motion_path
    kept = [role for role in roles if role.name in loaders and not role.per_request]
    for role in kept:
        files |= _by_name(role, paths[role.name])
    lora_files = dict(zip(paths.get("lora", ()), added.pop("lora", ()), strict=True))
    return Parts(
        base=base,
        animated=animated,
        loras=LoraCache(base, most=most_loras, known=lora_files),
        family=module.family if module is not None else _image_family(base),
        loaded=loaded,
        files=files,
        added=added,
        notes=(
            *base.notes,
            *(module.notes if module is not None else ()),
            *(
                note
                for role in kept
                for each in added[role.name]
                for note in loaders[role.name].notes(each)
            ),
            *word_notes,
        ),
        picture=picture,
    )


def move(
    base: BaseModel,
    animated: AnimatedUNet,
    added: Mapping[RoleName, Sequence[Any]],
    *,
    device: torch.device,
) -> BaseModel:
    """Move a loaded model to a device, in place; return the image model there."""
    if not any(parameter.is_meta for parameter in animated.motion.parameters()):
        animated.motion.to(device)
    for name, files in added.items():
        loader = loader_of(ROLES[name])
        for file in files:
            loader.move(file, device)
    return base.to(device)


def _image_family(base: BaseModel) -> Family:
    """Return the family without a motion module: the image model's noise schedule and guidance."""
    config: Any = base.scheduler_config
    betas = Betas(
        schedule=config.get("beta_schedule", "scaled_linear"),
        start=float(config.get("beta_start", 0.00085)),
        end=float(config.get("beta_end", 0.012)),
    )
    guidance = float(config.get("_guidance", IMAGE_FAMILY.guidance))
    return replace(IMAGE_FAMILY, betas=betas, guidance=guidance)
