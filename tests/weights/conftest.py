"""What the tests of weight files share."""

import pytest

from animatediff.weights.image_model import base_model


@pytest.fixture
def small_vocabularies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Allow what synthesised models are: text encoders of 1,000 rows beside CLIP's whole vocabulary."""
    monkeypatch.setattr(base_model, "_check_rows", lambda plan: plan)
