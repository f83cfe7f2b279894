"""Services of this folder's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.apps.server.served import Served

from animatediff.apps.server.queue.database import Database
from animatediff.apps.server.queue.jobs import JobQueue


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service with one fake worker, for the tests of one file."""
    with Served(tmp_path_factory.mktemp("served")) as running:
        yield running


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    found = Database(tmp_path / "queue.sqlite")
    yield found
    found.close()


@pytest.fixture
def queue(database: Database) -> JobQueue:
    return JobQueue(database)
