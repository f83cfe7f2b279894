"""The independent scorer: recognises the concept and the style of an emoji.

Frozen EfficientNet-Lite0 features are mapped to MiniLM sentence embeddings, so that pictures and texts
share one space, as in CLIP: a picture's concept is the label with the nearest embedding, and its text
score is a cosine. A second head recognises the style from palette, shading and edges. The scorer
replaces CLIP in the protocol of Sec. 5.1 (arXiv 2307.04725) and shares no weights, loss or features
with the model that it judges.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, UInt8
from safetensors.torch import load_file
from torch import Tensor, nn

from animatediff.errors import FileError, InputError
from animatediff.weights.finding.builtin import BUILTIN
from animatediff.weights.storage.files import replace_by, write_weights
from animatediff.world.scoring.lite0 import NUM_SHALLOW, Lite0, pictures_from
from animatediff.world.scoring.palette import NUM_FEATURES as NUM_PALETTE
from animatediff.world.scoring.palette import palette_features
from animatediff.world.scoring.sentences import SentenceEncoder

TEXT_WIDTH = 384
FOLDER = "scorer"
WEIGHTS_FILE = "scorer.safetensors"
FACTS_FILE = "scorer.json"
NUM_STYLE_FEATURES = NUM_PALETTE + NUM_SHALLOW
_BATCH = 4  # The maps of more pictures leave a processor's cache, which takes twice as long.

Frames = UInt8[np.ndarray, "n height width 3"]


@dataclass(frozen=True)
class ScorerFacts:
    """What a scorer was made to tell apart, and the sizes of its parts.

    Attributes:
        hexcodes: the concepts, in the order of their label embeddings.
        labels: the words of each concept.
        styles: the style names, in the order of the style head.
        trained: whether each concept was among those the scorer learned from.
    """

    hexcodes: tuple[str, ...]
    labels: tuple[str, ...]
    styles: tuple[str, ...]
    trained: tuple[bool, ...]
    num_features: int = 3552
    num_style_features: int = NUM_STYLE_FEATURES
    num_components: int = 768
    hidden: int = 1024
    style_hidden: int = 256
    size: int = 192
    version: int = 1


@dataclass(frozen=True)
class Judgement:
    """What the scorer says of some frames, row by row.

    Attributes:
        features: standardised image features, for comparing pictures with pictures.
        embeddings: unit vectors in MiniLM's space, for comparing pictures with words.
        concepts: indices of the five nearest labels, nearest first.
        styles: the name of the most likely style.
    """

    features: Float[Tensor, "n features"]
    embeddings: Float[Tensor, "n d"]
    concepts: Int[Tensor, "n nearest"]
    styles: tuple[str, ...]

    def shows(self, concept: int, *, among: int = 5) -> Bool[Tensor, " n"]:
        """Whether each frame has ``concept`` among its first ``among`` labels."""
        return (self.concepts[:, :among] == concept).any(dim=1)


def scorer_folder(work: Path) -> Path:
    """Return the folder of a world's own scorer, or of the package's where none was trained."""
    own = work / FOLDER
    return own if (own / FACTS_FILE).exists() else BUILTIN / FOLDER


def style_features(
    pictures: Float[Tensor, "n 3 h w"], *, shallow: Float[Tensor, "n shallow"]
) -> Float[Tensor, "n style"]:
    """What the style head reads: the palette's features, and the network's shallow ones."""
    return torch.cat([palette_features(pictures), shallow], dim=1)


class ConceptHead(nn.Module):
    """Image features to MiniLM's space: a linear map and a small correction to it."""

    def __init__(self, num_components: int, *, hidden: int) -> None:
        super().__init__()
        self.linear = nn.Linear(num_components, TEXT_WIDTH)
        self.inner = nn.Linear(num_components, hidden)
        self.outer = nn.Linear(hidden, TEXT_WIDTH)

    def forward(self, components: Float[Tensor, "n components"]) -> Float[Tensor, "n 384"]:
        """Unit vectors."""
        return F.normalize(self.linear(components) + self.outer(F.gelu(self.inner(components))))


class StyleHead(nn.Module):
    """Style features to a score for each style; it keeps what standardises them."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, num_features: int, *, hidden: int, num_styles: int) -> None:
        super().__init__()
        self.inner = nn.Linear(num_features, hidden)
        self.outer = nn.Linear(hidden, num_styles)
        self.register_buffer("mean", torch.zeros(num_features))
        self.register_buffer("deviation", torch.ones(num_features))

    def forward(self, features: Float[Tensor, "n style"]) -> Float[Tensor, "n styles"]:
        """Logits."""
        standardised = (features - self.mean) / self.deviation
        return self.outer(F.gelu(self.inner(standardised)))


class Scorer(nn.Module):
    """A frozen feature network with two heads: one for the concept, one for the style."""

    mean: Tensor
    deviation: Tensor
    whitening: Tensor
    label_embeddings: Tensor

    def __init__(self, facts: ScorerFacts) -> None:
        super().__init__()
        self.facts = facts
        self.network = Lite0(size=facts.size)
        self.concept = ConceptHead(facts.num_components, hidden=facts.hidden)
        self.style = StyleHead(
            facts.num_style_features, hidden=facts.style_hidden, num_styles=len(facts.styles)
        )
        self.register_buffer("mean", torch.zeros(facts.num_features))
        self.register_buffer("deviation", torch.ones(facts.num_features))
        self.register_buffer("whitening", torch.zeros(facts.num_features, facts.num_components))
        self.register_buffer("label_embeddings", torch.zeros(len(facts.labels), TEXT_WIDTH))
        self._index = {code: index for index, code in enumerate(facts.hexcodes)}

    def index_of(self, hexcode: str) -> int:
        """The index of a concept.

        Raises:
            InputError: the scorer does not know it.
        """
        if hexcode not in self._index:
            raise InputError(f"The scorer knows no concept {hexcode!r}; train it on these stills.")
        return self._index[hexcode]

    def standardised(self, features: Float[Tensor, "n features"]) -> Float[Tensor, "n features"]:
        """Pooled features with the training stills' mean and deviation taken out."""
        return (features - self.mean) / self.deviation

    def embedded(self, standardised: Float[Tensor, "n features"]) -> Float[Tensor, "n 384"]:
        """Standardised features in MiniLM's space."""
        return self.concept(standardised @ self.whitening)

    def nearest(
        self, embeddings: Float[Tensor, "n 384"], *, count: int = 5
    ) -> Int[Tensor, "n count"]:
        """The labels nearest to each embedding, nearest first (all, where there are fewer)."""
        similarity = embeddings @ self.label_embeddings.T
        return similarity.topk(min(count, similarity.shape[1]), dim=1).indices

    @torch.no_grad()
    def judge(self, frames: Frames) -> Judgement:
        """Judge RGB frames on white, of any size; they are resized to the network's."""
        device = self.mean.device
        deep: list[Tensor] = []
        style: list[Tensor] = []
        for start in range(0, len(frames), _BATCH):
            batch = torch.from_numpy(np.array(frames[start : start + _BATCH]))
            pictures = pictures_from(batch.to(device))
            features = self.network(pictures)
            deep.append(features)
            style.append(style_features(pictures, shallow=features[:, :NUM_SHALLOW]))
        return self.judge_features(torch.cat(deep), style=torch.cat(style))

    @torch.no_grad()
    def judge_features(
        self, features: Float[Tensor, "n features"], *, style: Float[Tensor, "n style"]
    ) -> Judgement:
        """Judge features that were extracted before: the network's, and those of style."""
        standardised = self.standardised(features)
        embeddings = self.embedded(standardised)
        styles = self.style(style).argmax(dim=1).tolist()
        return Judgement(
            features=standardised,
            embeddings=embeddings,
            concepts=self.nearest(embeddings),
            styles=tuple(self.facts.styles[style] for style in styles),
        )

    def embed_text(self, sentences: Sequence[str]) -> Float[Tensor, "n 384"]:
        """Unit embeddings of any words, to compare with ``Judgement.embeddings``.

        Raises:
            InputError: the sentence encoder's package is not installed.
        """
        return SentenceEncoder.installed()(sentences).to(self.mean.device)

    def stored(self) -> dict[str, Tensor]:
        """The weights as files hold them: matrices and kernels in half precision, vectors whole."""
        return {
            name: (value.half() if value.ndim > 1 else value).contiguous()
            for name, value in self.state_dict().items()
        }

    def save(self, folder: Path) -> None:
        """Write ``scorer.safetensors`` and ``scorer.json``, each whole or not at all.

        Raises:
            OutputError: the weights cannot be written.
        """
        folder.mkdir(parents=True, exist_ok=True)
        write_weights(folder / WEIGHTS_FILE, self.stored(), metadata={})
        facts = folder / FACTS_FILE
        temporary = facts.with_name(f".{facts.name}.tmp")
        text = json.dumps(asdict(self.facts), ensure_ascii=False, indent=1)
        temporary.write_text(text, encoding="utf-8")
        replace_by(temporary, facts)

    @classmethod
    def load(cls, folder: Path) -> Scorer:
        """A scorer that was trained and saved before.

        Raises:
            FileError: the folder holds none, or one of another version.
        """
        path = folder / FACTS_FILE
        if not path.exists() or not (folder / WEIGHTS_FILE).exists():
            raise FileError(
                f"{folder} holds no scorer; train one with `animatediff evaluate scorer`."
            )
        facts = json.loads(path.read_text(encoding="utf-8"))
        if facts.get("version") != ScorerFacts.__dataclass_fields__["version"].default:
            raise FileError(f"{path} is of another version; train the scorer again.")
        lists = {name: tuple(value) for name, value in facts.items() if isinstance(value, list)}
        scorer = cls(ScorerFacts(**(facts | lists)))
        scorer.load_state_dict(load_file(folder / WEIGHTS_FILE))
        return scorer.eval()
