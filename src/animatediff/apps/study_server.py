"""A small server for a study: it serves one page and receives answers, and nothing else."""

from __future__ import annotations

import sys
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from animatediff.apps.commands.evaluation.study import keep_answers
from animatediff.errors import FileError, InputError, OutputError, reason_of
from animatediff.evaluation.study.answers import MOST_BYTES, read_answers
from animatediff.evaluation.study.design import ANSWERS, PAGE, Study, load_key

SECONDS = 30
"""A client that sends nothing for so long is dropped."""


def serve_study(folder: Path, *, host: str, port: int, listening: Callable[[str], None]) -> None:
    """Serve a study until Ctrl+C.

    Args:
        folder: of the study.
        host: address to listen at.
        port: port to listen at; 0 chooses a free one.
        listening: called with the page's address once the server listens.

    Raises:
        FileError: the folder has no study.
        InputError: the address or the port cannot be used.
    """
    server = study_server(folder, host=host, port=port)
    listening(f"http://{host}:{server.server_address[1]}/")
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        server.server_close()


def study_server(folder: Path, *, host: str, port: int) -> ThreadingHTTPServer:
    """Return a server that listens already.

    Raises:
        FileError: the folder has no study.
        InputError: the address or the port cannot be used.
    """
    study = load_key(folder)
    try:
        page = (folder / PAGE).read_bytes()
    except OSError as error:
        raise FileError(f"{folder / PAGE} cannot be read: {reason_of(error)}.") from None
    handler = _handler(study, folder, page)
    try:
        server = ThreadingHTTPServer((host, port), handler)
    except (OSError, OverflowError) as error:
        reason = reason_of(error) if isinstance(error, OSError) else str(error)
        raise InputError(f"Cannot listen at {host}:{port} ({reason}); choose another.") from None
    server.handle_error = _tell
    return server


def _tell(request: object, client_address: object) -> None:
    """Print what went wrong without the participant's address, which the library's own way prints."""
    del request, client_address
    error = sys.exception()
    print(f"A request could not be answered: {type(error).__name__}.", file=sys.stderr)


def _handler(study: Study, folder: Path, page: bytes) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = SECONDS
        server_version = "animatediff-study"

        def do_GET(self) -> None:
            """Send the page, and nothing else of the folder."""
            if self.path.partition("?")[0] == "/":
                self._send(HTTPStatus.OK, page, kind="text/html; charset=utf-8")
            else:
                self._send(HTTPStatus.NOT_FOUND, b"not found")

        def do_POST(self) -> None:
            """Store answers that are complete and belong to the study."""
            length = self.headers.get("content-length", "")
            if self.path != "/answers" or not length.isdecimal():
                self._send(HTTPStatus.NOT_FOUND, b"not found")
                return
            if int(length) > MOST_BYTES:
                self._send(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, b"too large")
                return
            text = self.rfile.read(int(length))
            try:
                person = read_answers(text, study, source="the request")
                keep_answers(text, folder / ANSWERS / f"{person.name}.json")
            except (FileError, InputError) as error:
                self._send(HTTPStatus.BAD_REQUEST, str(error).encode())
            except OutputError as error:
                self._send(HTTPStatus.INTERNAL_SERVER_ERROR, str(error).encode())
            else:
                self._send(HTTPStatus.OK, b"received")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Print nothing: addresses of participants are nobody's business."""

        def _send(self, status: HTTPStatus, body: bytes, *, kind: str = "text/plain") -> None:
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.send_header("cache-control", "no-store")
            self.send_header("x-content-type-options", "nosniff")
            self.end_headers()
            self.wfile.write(body)

    return Handler
