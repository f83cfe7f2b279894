"""What training stages can be given, in groups; each stage takes some of them (``table.py``).

Every option is declared here once: the command line, ``--config`` files and the tables of the
documentation are generated from these fields, and a stage refuses an option of a group that it does not
take.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from animatediff.data.checking.quarantine import MAX_BAD
from animatediff.data.decoding.media import Limits
from animatediff.options.declaration import Option
from animatediff.video.preprocess import PreprocessName


@dataclass(frozen=True)
class OutputOptions:
    """Where the result is written."""

    output: Annotated[
        Path | None,
        Option(
            "File to write; for DreamBooth, the folder.",
            group="Output",
            metavar="FILE",
            aliases=("-o",),
            common=True,
            unset="its place in the folder --work",
            foreign=(
                "output-dir",
                "output-name",
                "save-path",
                "outdir",
                "out",
            ),
        ),
    ] = None


@dataclass(frozen=True)
class ImageModelOptions:
    """The frozen image model, and how much memory its backward pass takes."""

    model: Annotated[
        str | None,
        Option(
            "Image model: a name or a diffusers folder.",
            group="Model",
            metavar="NAME",
            common=True,
            unset="the one in the folder --work",
            foreign=(
                "pretrained-model-name-or-path",
                "pretrained-model-path",
                "ckpt",
                "checkpoint",
                "base-model",
            ),
        ),
    ] = None
    size: Annotated[
        int | None,
        Option(
            "Height and width of the training clips.",
            group="Data",
            unit="pixels",
            least=8,
            most=8192,
            unset="the model's own",
            foreign=(
                "resolution",
                "sample-size",
                "width",
                "height",
                "image-size",
            ),
        ),
    ] = None
    checkpointing: Annotated[
        bool,
        Option(
            "Recompute all activations in the backward pass: slower, in less memory.",
            group="Machine",
            foreign=(
                "gradient-checkpointing",
                "enable-gradient-checkpointing",
            ),
        ),
    ] = False


@dataclass(frozen=True)
class FamilyOptions:
    """The version of AnimateDiff that the weights belong to."""

    family: Annotated[
        str | None,
        Option(
            "Family of new motion modules, or of a file that does not say its own.",
            group="Model",
            metavar="NAME",
            unset="v3",
        ),
    ] = None


@dataclass(frozen=True)
class ClipOptions:
    """The clips or pictures to train on."""

    data: Annotated[
        Path | None,
        Option(
            "Clips: a folder of videos or pictures, each with a .txt of the same name as its caption; "
            "frames, metadata.csv, .jsonl or .parquet, WebVid's CSV, JSON lines, TOML, lists, "
            "WebDataset's tar files; or the folder of `animatediff dataset build`.",
            group="Data",
            metavar="DATA",
            common=True,
            unset="the built-in world's",
            foreign=(
                "train-data-dir",
                "train-data",
                "instance-data-dir",
                "dataset",
                "dataset-config",
                "dataset-name",
                "csv-path",
                "video-folder",
                "data-dir",
            ),
        ),
    ] = None
    layout: Annotated[
        str,
        Option(
            "Layout of the data: folder, frames, metadata, webvid, jsonl, toml, lists or webdataset; "
            "auto detects it.",
            group="Data",
            metavar="NAME",
        ),
    ] = "auto"
    videos: Annotated[
        Path | None,
        Option(
            "Folder that the file names in a table are relative to.",
            group="Data",
            metavar="FOLDER",
            unset="the table's own",
        ),
    ] = None
    max_bad: Annotated[
        float,
        Option(
            "Share of clips that may be unreadable; with more, training does not start.",
            group="Data",
            least=0,
            most=1,
        ),
    ] = MAX_BAD
    max_seconds: Annotated[
        float, Option("Longest clip that is read.", group="Data", unit="seconds", least=0)
    ] = Limits.seconds
    timeout: Annotated[
        float,
        Option(
            "Time after which decoding a clip is given up.", group="Data", unit="seconds", least=0
        ),
    ] = Limits.timeout
    fps: Annotated[
        float, Option("Frame rate to resample clips to.", group="Data", least=0, most=1000)
    ] = 8.0
    clips: Annotated[
        int | None, Option("Number of clips to train on.", group="Data", least=1, unset="all")
    ] = None
    first_clip: Annotated[
        int, Option("Index of the first of them, from 0.", group="Data", least=0)
    ] = 0
    variations: Annotated[
        int,
        Option(
            "Number of windows of each clip, each encoded once; 0 draws a new one at every step.",
            group="Data",
            least=0,
        ),
    ] = 0
    caption_from_names: Annotated[
        bool,
        Option(
            "Train on file names as captions where clips have none; without it, more than a tenth of "
            "such clips stops training.",
            group="Data",
        ),
    ] = False
    caption: Annotated[
        str | None,
        Option(
            "One caption for all clips, such as 'a photo of sks dog'.",
            group="Data",
            foreign=("instance-prompt",),
        ),
    ] = None


@dataclass(frozen=True)
class LossOptions:
    """Changes to the plain loss of the paper (Eq. 2, Eq. 5)."""

    null_text: Annotated[
        float,
        Option(
            "Share of captions that are dropped, for guidance (arXiv 2207.12598).",
            group="Loss",
            least=0,
            most=1,
            foreign=(
                "cfg-random-null-text-ratio",
                "caption-dropout-rate",
            ),
        ),
    ] = 0.1
    min_snr: Annotated[
        float | None,
        Option(
            "Gamma of min-SNR weighting (arXiv 2303.09556); 5 is usual.",
            group="Loss",
            metavar="GAMMA",
            least=0,
            unset="the plain mean square of the paper",
            foreign=(
                "min-snr-gamma",
                "snr-gamma",
            ),
        ),
    ] = None
    noise_offset: Annotated[
        float, Option("Strength of noise that shifts a whole clip.", group="Loss")
    ] = 0.0
    min_timestep: Annotated[
        int,
        Option(
            "Smallest timestep, of 1,000, to train at; camera moves are decided above 500.",
            group="Loss",
            least=0,
        ),
    ] = 0


@dataclass(frozen=True)
class NoiseOptions:
    """The noise that new or further trained motion modules learn with."""

    shared_noise: Annotated[
        float | None,
        Option(
            "Share of the noise's variance that all frames of a clip have in common (arXiv "
            "2305.10474, Sec. 4.1, which takes 0.5). It is stored in the file, and animations begin "
            "with such noise.",
            group="Loss",
            least=0,
            most=1,
            unset="that of --motion, and 0 for new motion modules",
        ),
    ] = None


@dataclass(frozen=True)
class MotionModuleOptions:
    """The motion modules to train, or to train on, and the clips that they see."""

    motion: Annotated[
        str | None,
        Option(
            "Motion modules to build on or to continue training: a name or a file.",
            group="Model",
            metavar="NAME",
            common=True,
        ),
    ] = None
    adapter: Annotated[
        Path | None,
        Option(
            "Domain adapter to attach, frozen, while motion is trained (Sec. 4.2).",
            group="Model",
            metavar="FILE",
        ),
    ] = None
    frames: Annotated[
        int,
        Option(
            "Frames in a training clip.",
            group="Data",
            least=1,
            common=True,
            foreign=(
                "sample-n-frames",
                "num-frames",
                "n-frames",
                "video-length",
            ),
        ),
    ] = 16
    debias: Annotated[
        float,
        Option(
            "Weight of the loss without appearance (arXiv 2310.08465); 1 to train on one clip.",
            group="Loss",
        ),
    ] = 0.0


@dataclass(frozen=True)
class DegradedOptions:
    """The look of stock footage."""

    degraded: Annotated[
        bool,
        Option(
            "Give the built-in world's clips the watermark, blur and compression of stock footage.",
            group="Data",
        ),
    ] = False


@dataclass(frozen=True)
class AppearanceOptions:
    """Varied appearance, so that a single clip teaches its motion only."""

    vary_appearance: Annotated[
        bool,
        Option(
            "Recolour and bend every window, the same in all of its frames, so that the motion of a "
            "single clip is learned without its appearance.",
            group="Data",
        ),
    ] = False


@dataclass(frozen=True)
class MovingCameraOptions:
    """Camera moves in the training clips of motion modules."""

    moving_camera: Annotated[
        float,
        Option(
            "Share of clips that get a camera move, which their captions then name.", group="Data"
        ),
    ] = 0.0


@dataclass(frozen=True)
class MixOptions:
    """Kinds of clips of the built-in world."""

    mix: Annotated[
        tuple[str, ...],
        Option(
            "Kinds of clips of the built-in world, each with its share, such as clips:0.55 "
            "stills:0.45: clips, actions, stills or cameras.",
            group="Data",
            metavar="KIND:SHARE...",
            several=True,
            unset="its real clips alone",
        ),
    ] = ()


@dataclass(frozen=True)
class PictureNetworkOptions:
    """A network that shows frames of the clips while motion is trained."""

    pictures: Annotated[
        str | None,
        Option(
            "SparseCtrl rgb network to attach, frozen, while motion is trained: it is shown frames of "
            "most clips, so that motion learns to follow a picture (arXiv 2311.16933).",
            group="Model",
            metavar="NAME",
        ),
    ] = None


@dataclass(frozen=True)
class LowRankOptions:
    """The size of low-rank branches."""

    rank: Annotated[
        int | None,
        Option(
            "Rank of the low-rank branches.",
            group="Model",
            least=1,
            common=True,
            unset="128 for a domain adapter, 64 for a MotionLoRA, 16 otherwise",
            foreign=(
                "network-dim",
                "lora-rank",
                "network-rank",
                "dim",
            ),
        ),
    ] = None


@dataclass(frozen=True)
class MotionLoraOptions:
    """What a MotionLoRA learns, and on which layers."""

    pattern: Annotated[
        str | None,
        Option(
            "Camera move to apply to every clip: zoom-in, zoom-out, pan-left, pan-right, tilt-up, "
            "tilt-down, roll-clockwise or roll-anticlockwise; NAME:0.5 moves half as far.",
            group="Data",
            metavar="NAME",
            common=True,
        ),
    ] = None
    scales: Annotated[
        tuple[float, ...],
        Option(
            "With --pattern: scales to train at. The camera moves in proportion to the scale, and in "
            "the opposite direction below 0. A repeated scale is trained more often: 0.5 0.5 1.",
            group="Data",
            metavar="X...",
            several=True,
        ),
    ] = (1.0,)
    layers: Annotated[
        Literal["attention", "all"],
        Option(
            "Layers of the motion modules that get branches: attention, as in the paper, or all, for "
            "motions that depend on the position such as a roll, in files of twice the size.",
            group="Model",
            metavar="NAME",
        ),
    ] = "attention"
    start: Annotated[
        str | None,
        Option(
            "MotionLoRA to continue training, a name or a file, of the same rank and layers.",
            group="Model",
            metavar="NAME",
        ),
    ] = None


@dataclass(frozen=True)
class InversionOptions:
    """The word that textual inversion trains."""

    word: Annotated[
        str | None,
        Option(
            "New word of a textual inversion, such as <my-dog>.",
            group="Data",
            foreign=(
                "placeholder-token",
                "token-string",
            ),
        ),
    ] = None
    like: Annotated[
        str | None,
        Option(
            "Known word that the new one starts as.",
            group="Data",
            foreign=(
                "initializer-token",
                "init-word",
            ),
        ),
    ] = None
    words: Annotated[int, Option("Number of vectors of the new word.", group="Model", least=1)] = 1


@dataclass(frozen=True)
class DreamBoothOptions:
    """Prior preservation (arXiv 2208.12242)."""

    class_data: Annotated[
        Path | None,
        Option(
            "Pictures of the class in general, for prior preservation.",
            group="Data",
            metavar="FOLDER",
            foreign=(
                "class-data-dir",
                "reg-data-dir",
            ),
        ),
    ] = None
    class_caption: Annotated[
        str | None,
        Option(
            "Their caption, such as 'a photo of a dog'.",
            group="Data",
            foreign=("class-prompt",),
        ),
    ] = None
    prior: Annotated[
        float,
        Option(
            "Weight of prior preservation.",
            group="Loss",
            foreign=("prior-loss-weight",),
        ),
    ] = 1.0


@dataclass(frozen=True)
class EncoderOptions:
    """The size of a control network, and what it begins as."""

    encoder: Annotated[
        Literal["full", "small"] | None,
        Option(
            "What a control network copies of the image model: all of its encoder, or a small part "
            "without attention.",
            group="Model",
            metavar="NAME",
            unset="small for the built-in model, else full",
        ),
    ] = None
    begin_from: Annotated[
        str | None,
        Option(
            "Control network to continue training, a name or a file, of the same kind and size.",
            group="Model",
            metavar="NAME",
        ),
    ] = None


@dataclass(frozen=True)
class HintOptions:
    """What a ControlNet learns to follow."""

    hint: Annotated[
        PreprocessName,
        Option(
            "Hints to draw from the training frames: canny, lineart, softedge, hed, tile or shape; "
            "with --hints, what to draw from those pictures, or none.",
            group="Data",
            common=True,
        ),
    ] = "canny"
    hints: Annotated[
        Path | None,
        Option(
            "Hints of one's own for --data: files of the same names, such as depth maps or poses.",
            group="Data",
            metavar="FOLDER",
            common=True,
        ),
    ] = None


GROUPS = (
    OutputOptions,
    ImageModelOptions,
    FamilyOptions,
    ClipOptions,
    LossOptions,
    NoiseOptions,
    MotionModuleOptions,
    DegradedOptions,
    AppearanceOptions,
    MovingCameraOptions,
    MixOptions,
    PictureNetworkOptions,
    LowRankOptions,
    MotionLoraOptions,
    InversionOptions,
    DreamBoothOptions,
    EncoderOptions,
    HintOptions,
)
"""Every group, in the order in which options are listed."""

DO_NOT_IDENTIFY = frozenset(
    "model motion adapter start output data class_data layout videos max_bad max_seconds timeout "
    "checkpointing caption_from_names hints begin_from pictures".split()
)
"""Options that do not make a run another run: files are compared by their content instead."""
