"""One cluster of two nodes for all tests of this folder."""

from __future__ import annotations

import importlib.util
from collections.abc import Generator
from typing import Any

import pytest
from tests.apps.cluster.nodes import two_nodes


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Generator[Any]:
    # Ray itself is imported later: what it reads from the environment, it reads when it is imported.
    if importlib.util.find_spec("ray") is None:
        pytest.skip("ray is not installed")
    with two_nodes(tmp_path_factory.mktemp("ray")) as started:
        yield started
