"""One cluster of two nodes for all tests of this folder."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest
from tests.apps.cluster.nodes import two_nodes


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Generator[Any]:
    pytest.importorskip("ray")
    with two_nodes(tmp_path_factory.mktemp("ray")) as started:
        yield started
