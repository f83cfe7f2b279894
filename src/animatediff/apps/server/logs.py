"""Logs as lines of JSON: requests and failures to standard error, and an audit log to a file.

No log holds a prompt, a token or the body of a request.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path

from starlette.types import Scope

from animatediff.apps.server.metrics import Metrics
from animatediff.errors import reason_of

AUDIT_BYTES, AUDIT_FILES = 10 << 20, 5


class Logs:
    """The logs of one service.

    Args:
        folder: holds the audit log.
        metrics: counts requests.
        level: of the log on standard error.
    """

    def __init__(self, folder: Path, *, metrics: Metrics, level: str = "info") -> None:
        self.metrics = metrics
        # Not the root's, and of this service alone: tests have several in one process.
        self._log = logging.Logger("animatediff.server", level.upper())  # noqa: LOG001
        self._log.addHandler(logging.StreamHandler())
        self._audit = logging.Logger("animatediff.audit", logging.INFO)  # noqa: LOG001
        file = RotatingFileHandler(
            folder / "audit.jsonl",
            maxBytes=AUDIT_BYTES,
            backupCount=AUDIT_FILES,
            encoding="utf-8",
            delay=True,
        )
        # A handler reports its errors to this method and goes on.
        file.handleError = self._not_audited
        self._audit.addHandler(file)
        self._lossy = False

    def request(self, scope: Scope, *, status: int, seconds: float) -> None:
        """Note one request."""
        route = scope.get("route")
        path: str = getattr(route, "path", "") or "other"
        self.metrics.request(method=scope["method"], route=path, status=status, seconds=seconds)
        if self._log.isEnabledFor(logging.DEBUG):
            facts = {
                "method": scope["method"],
                "path": scope["path"][:200],
                "status": status,
                "milliseconds": round(seconds * 1000, 1),
            }
            self._log.debug(_line("request", facts))

    def event(self, event: str, facts: Mapping[str, str | int | float]) -> None:
        """Note something about the service."""
        self._log.info(_line(event, facts))

    def failure(self, error: BaseException, *, path: str) -> None:
        """Note an error that nobody expected, with its traceback."""
        facts = {
            "path": path[:200],
            "error": type(error).__name__,
            "traceback": "".join(traceback.format_exception(error)),
        }
        self._log.error(_line("failure", facts))

    def audit(self, event: str, facts: Mapping[str, str | int | float]) -> None:
        """Note who changed what, for a later investigation; a full disk stops no request."""
        self._audit.info(_line(event, facts))

    def _not_audited(self, record: logging.LogRecord) -> None:
        """Warn, the first time only, that the audit log cannot be written."""
        if self._lossy:
            return
        self._lossy = True
        error = sys.exc_info()[1]
        reason = reason_of(error) if isinstance(error, OSError) else str(error)
        sentence = (
            f"The audit log cannot be written ({reason}), and its lines are "
            "lost until it can be; free some space."
        )
        self._log.warning(_line("audit", {"error": sentence}))

    def close(self) -> None:
        """Close the files."""
        for logger in (self._log, self._audit):
            for handler in list(logger.handlers):
                with contextlib.suppress(OSError):  # lines that a full disk did not take
                    handler.close()
                logger.removeHandler(handler)


def _line(event: str, facts: Mapping[str, str | int | float]) -> str:
    """One line of JSON."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return json.dumps({"time": now, "event": event, **facts}, ensure_ascii=False)
