"""``animatediff models``: list, verify and pull, with a hub that is none."""

from __future__ import annotations

import hashlib
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tests.weights import synthetic

from animatediff.apps.cli import main
from animatediff.apps.commands.models import ModelsOptions, pull_all
from animatediff.errors import FileError, InputError
from animatediff.weights.finding.catalog import published
from animatediff.weights.finding.hub import HuggingFace, Offer
from animatediff.weights.storage.files import read_header


@dataclass
class Stub:
    """A hub on this disk.

    Attributes:
        source: the file that it gives whatever is asked for.
        offered: what it says of it, where that is not the truth.
        fetched: what was asked for.
    """

    source: Path
    offered: Offer | None = None
    fetched: list[Offer] = field(default_factory=list[Offer])

    def offer(self, repository: str, file: str, *, revision: str) -> Offer:
        content = self.source.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        true = Offer(repository, file, "c0ffee", len(content), digest, "apache-2.0")
        return self.offered or true

    def fetch(self, offer: Offer, *, into: Path) -> Path:
        self.fetched.append(offer)
        return Path(shutil.copy(self.source, into / Path(offer.file).name))


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    monkeypatch.setenv("ANIMATEDIFF_MODELS", str(tmp_path / "models"))
    return tmp_path


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "source.safetensors"
    save_file({"a": torch.ones(2)}, path)
    return path


YES = ModelsOptions("pull", ("animatelcm-lora",), yes=True)


def test_list_says_what_is_here_and_what_could_be(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = home / "models" / "lora" / "ink.safetensors"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"")
    assert main(["models"]) == 0
    first = capsys.readouterr().out
    assert main(["models", "list"]) == 0
    assert capsys.readouterr().out == first
    assert re.search(r"^model +emoji ", first, re.MULTILINE)
    assert re.search(rf"^lora +ink +{re.escape(str(path))}$", first, re.MULTILINE)
    assert first.index("models pull NAME") < first.index("v3")
    assert main(["models", "list", "--kind", "motion"]) == 0
    assert "ink" not in capsys.readouterr().out


def test_pull_shows_what_it_is_and_keeps_what_arrived(
    weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub = Stub(weights)
    assert pull_all(YES, hub=hub) == 0
    printed = capsys.readouterr().out
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    for fact in ("wangfuyun/AnimateLCM", "0.0 MB", "apache-2.0", "c0ffee", digest):
        assert fact in printed
    kept = published("animatelcm-lora").path
    assert kept.read_bytes() == weights.read_bytes()
    assert [path.name for path in kept.parent.iterdir()] == [kept.name]
    assert hub.fetched[0].revision == "c0ffee"


def test_a_pickle_is_kept_as_safetensors(tmp_path: Path) -> None:
    pickle = synthetic.write_pickle(tmp_path / "source.ckpt", "embedding-a1111-pickle")
    assert pull_all(ModelsOptions("pull", ("v3",), yes=True), hub=Stub(pickle)) == 0
    assert "string_to_param.*" in read_header(published("v3").path).shapes


def test_nothing_is_fetched_unasked(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Stub(weights)
    with pytest.raises(InputError, match="add --yes"):
        pull_all(ModelsOptions("pull", ("v3",)), hub=hub)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda _: "n")
    assert pull_all(ModelsOptions("pull", ("v3",)), hub=hub) == 2
    assert hub.fetched == []


@pytest.mark.parametrize(
    ("offered", "sentence"),
    [
        (Offer("r", "f.safetensors", "c", 5, "", ""), "instead of 5"),
        (Offer("r", "f.safetensors", "c", 0, "0" * 64, ""), "thrown away"),
    ],
)
def test_what_is_not_what_was_said_is_thrown_away(
    offered: Offer, sentence: str, weights: Path
) -> None:
    with pytest.raises(FileError, match=sentence):
        pull_all(YES, hub=Stub(weights, offered))
    kept = published("animatelcm-lora").path
    assert list(kept.parent.iterdir()) == []


def test_a_broken_file_is_not_kept(tmp_path: Path) -> None:
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"\xff" * 100)
    with pytest.raises(FileError):
        pull_all(YES, hub=Stub(broken))
    assert not published("animatelcm-lora").path.exists()


def test_without_a_network_the_hub_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def fail(*_: object, **__: object) -> None:
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", fail)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fail)
    with pytest.raises(InputError, match="no route to host"):
        HuggingFace().offer("a/b", "c", revision="main")
    with pytest.raises(InputError, match="no route to host"):
        HuggingFace().fetch(Offer("a/b", "c", "d", 0, "", ""), into=Path())


def test_verify_names_broken_files_and_prints_hashes(
    home: Path, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = home / "models" / "lora"
    folder.mkdir(parents=True)
    good = synthetic.write(folder / "good.safetensors", "lora-lcm")
    assert main(["models", "verify", "good"]) == 0
    printed = capsys.readouterr().out
    digest = hashlib.sha256(good.read_bytes()).hexdigest()
    assert "whole   good" in printed
    assert digest[:10].upper() in printed
    (folder / "bad.safetensors").write_bytes(good.read_bytes()[:-10])
    assert main(["models", "verify", "--kind", "lora"]) == 3
    printed = capsys.readouterr().out
    assert "broken  bad" in printed
    assert "whole   good" in printed
    assert main(["models", "verify", "nothing"]) == 2
