"""``animatediff serve``: the page, the API and the queue on one address."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import socket
import time
import webbrowser
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from platformdirs import user_data_path

from animatediff.apps.options.machine import COMPILE, MEMORY, Memory
from animatediff.apps.server.settings import LOOPBACK, ServiceLimits, Settings
from animatediff.errors import FileError, InputError, reason_of
from animatediff.options.declaration import Option

if TYPE_CHECKING:
    import uvicorn

    from animatediff.apps.server.answers.events import Broker

PORT = 8188
TOKEN_VARIABLE = "ANIMATEDIFF_TOKEN"  # noqa: S105 - the name of a variable
LEAST_TOKEN = 16
NEEDED = ("fastapi", "uvicorn", "prometheus_client", "python_multipart")
HEADER_SECONDS = 20.0
LOOK_SECONDS = 0.25
KEEP_ALIVE_SECONDS = 15
HEADER_BYTES = 32 << 10


@dataclass(frozen=True)
class ServeOptions:
    """Options of ``animatediff serve``."""

    address: Annotated[
        str,
        Option(
            "Address to bind to. Any but 127.0.0.1 needs a token.",
            group="Access",
            metavar="ADDRESS",
            foreign=("host", "listen", "bind", "server-name"),
            common=True,
        ),
    ] = "127.0.0.1"
    port: Annotated[
        int,
        Option(
            "Port to bind to; 0 takes a free one.", group="Access", least=0, most=65535, common=True
        ),
    ] = PORT
    hostname: Annotated[
        tuple[str, ...],
        Option(
            "A name under which browsers reach the server, such as render.example.",
            group="Access",
            metavar="NAME",
            most_items=20,
            most_characters=253,
        ),
    ] = ()
    token_file: Annotated[
        Path | None,
        Option(
            f"A file with the token that clients must send; or set {TOKEN_VARIABLE}.",
            group="Access",
            metavar="FILE",
            foreign=("api-auth", "gradio-auth", "token", "api-key"),
        ),
    ] = None
    open: Annotated[bool, Option("Open the page in a browser.", group="Access")] = False
    folder: Annotated[
        Path | None,
        Option(
            "Folder of the queue, uploads and results.",
            group="Storage",
            metavar="FOLDER",
            foreign=("output", "outdir", "data-dir", "output-directory"),
            common=True,
            unset="the user's data folder",
        ),
    ] = None
    quota: Annotated[
        float,
        Option(
            "Size of all uploads and results; the oldest results leave first.",
            group="Storage",
            unit="GiB",
            least=0.01,
            most=100_000,
        ),
    ] = 20.0
    keep_days: Annotated[
        float,
        Option(
            "Age at which finished jobs are deleted.",
            group="Storage",
            unit="days",
            least=0.001,
            most=100_000,
        ),
    ] = 30.0
    runs: Annotated[
        Path | None,
        Option(
            "Folder of training runs that the page shows, such as the one of `train --work`.",
            group="Storage",
            metavar="FOLDER",
        ),
    ] = None
    datasets: Annotated[
        Path | None,
        Option("Folder of datasets that the page may check.", group="Storage", metavar="FOLDER"),
    ] = None
    devices: Annotated[
        str,
        Option(
            "One worker for each: auto, cpu, cuda:0,cuda:1, ...",
            group="Machine",
            metavar="LIST",
            foreign=("device", "gpus", "device-id", "cuda-device"),
            common=True,
        ),
    ] = "auto"
    threads: Annotated[
        int | None,
        Option("CPU threads of each worker.", group="Machine", least=1, most=1024, unset="all"),
    ] = None
    compile: Annotated[bool, COMPILE] = False
    memory: Annotated[Memory, MEMORY] = "full"
    model_memory: Annotated[
        float | None,
        Option(
            "Memory of each worker for models that stay loaded.",
            group="Machine",
            unit="GiB",
            least=0.01,
            most=10_000,
            unset="half of the machine's, or six tenths of the GPU's",
        ),
    ] = None
    most_queued: Annotated[
        int, Option("Jobs that may wait at one time.", group="Limits", least=1, most=100_000)
    ] = 500
    most_queued_each: Annotated[
        int,
        Option("Jobs of one client that may wait or run.", group="Limits", least=1, most=100_000),
    ] = 500
    rate: Annotated[
        float,
        Option(
            "Requests a second of one client; short bursts may be four times as many.",
            group="Limits",
            least=0.1,
            most=1_000_000,
        ),
    ] = 50.0
    log_level: Annotated[
        Literal["debug", "info", "warning"],
        Option(
            "What is logged on standard error, in lines of JSON; debug has one for every request.",
            group="Machine",
        ),
    ] = "info"
    upload: Annotated[
        float, Option("Largest upload.", group="Limits", unit="MiB", least=0.1, most=100_000)
    ] = 256.0


def serve(options: ServeOptions) -> int:
    """Serve the page and the API until stopped.

    Raises:
        InputError: an option cannot be used, the extra is not installed, or another server has the
            folder.
        FileError: the token or the queue cannot be read.
        OutputError: the folder cannot be written.
    """
    if any(importlib.util.find_spec(name) is None for name in NEEDED):
        raise InputError("The server needs more packages; pip install 'animatediff[serve]'.")
    from animatediff.apps.server.app import create_app
    from animatediff.apps.server.service import Service
    from animatediff.apps.server.working.supervisor import (
        Lock,
        Supervisor,
        check_memory_option,
        devices_of,
    )

    settings = settings_of(options)
    devices = devices_of(options.devices)
    check_memory_option(devices, memory=options.memory, compiled=options.compile)
    listening = bound(options.address, options.port)
    lock = Lock(settings.folder)
    service = Service.of(settings)
    memory = options.model_memory
    supervisor = Supervisor(
        service,
        devices=devices,
        threads=options.threads,
        compiled=options.compile,
        memory=options.memory,
        model_bytes=int(memory * (1 << 30)) if memory is not None else None,
    )
    sweeper = Sweeper(service.broker)
    app = create_app(service, background=(supervisor, sweeper))
    server = server_of(app)
    sweeper.server = server
    host, port = listening.getsockname()[:2]
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}/"
    print(f"animatediff serves {url} (stop with Ctrl-C)", flush=True)
    service.logs.event("started", {"address": url, "process": os.getpid()})
    if options.open:
        webbrowser.open(url)
    try:
        server.run(sockets=[listening])
    except KeyboardInterrupt:
        pass
    finally:
        service.close()
        lock.close()
    return 0


def settings_of(options: ServeOptions, *, environment: dict[str, str] | None = None) -> Settings:
    """The settings that the options of a command line ask for.

    Raises:
        InputError: an address that others reach needs a token, or the token is too short.
        FileError: the token's file cannot be read.
    """
    from animatediff.options.checks import check_declared

    check_declared(replace(options, folder=None, token_file=None, runs=None, datasets=None))
    token = read_token(options.token_file, environment=environment)
    if options.address not in LOOPBACK and not token:
        raise InputError(
            f"The address {options.address} can be reached by others, which needs a token; give one "
            f"with --token-file or {TOKEN_VARIABLE}."
        )
    burst = max(1, int(4 * options.rate))
    return Settings(
        folder=options.folder or user_data_path("animatediff") / "server",
        token=token,
        hosts=tuple(name.lower() for name in options.hostname),
        address=options.address,
        log_level=options.log_level,
        runs=options.runs,
        datasets=options.datasets,
        limits=ServiceLimits(
            queued=options.most_queued,
            queued_each=options.most_queued_each,
            upload_bytes=int(options.upload * (1 << 20)),
            rate=options.rate,
            burst=burst,
            store_bytes=int(options.quota * (1 << 30)),
            keep_seconds=options.keep_days * 86_400,
        ),
    )


def read_token(path: Path | None, *, environment: dict[str, str] | None = None) -> str:
    """The token of a file, or of the environment; empty if there is none.

    Raises:
        InputError: it is too short to be safe, or cannot be in a header.
        FileError: the file cannot be read.
    """
    given = os.environ if environment is None else environment
    if path is not None:
        try:
            token = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            why = reason_of(error) if isinstance(error, OSError) else "it is not text"
            raise FileError(f"The token file {path} cannot be read: {why}.") from None
        if not token:
            raise InputError(f"The token file {path} is empty; write a long random text into it.")
    else:
        token = given.get(TOKEN_VARIABLE, "").strip()
    if token and (len(token) < LEAST_TOKEN or not token.isascii() or not token.isprintable()):
        raise InputError(
            f"The token is not {LEAST_TOKEN} or more plain letters and digits; make one with "
            "python -c 'import secrets; print(secrets.token_urlsafe(32))'."
        )
    return token


def bound(address: str, port: int) -> socket.socket:
    """A socket that listens on an address.

    Raises:
        InputError: the address is unknown, or the port is taken.
    """
    try:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        return socket.create_server((address, port), family=family, backlog=1024)
    except OSError as error:
        raise InputError(
            f"{address}:{port} cannot be bound to ({reason_of(error)}); choose another with "
            "--address or --port."
        ) from None


def server_of(app: object) -> uvicorn.Server:
    """The HTTP server of an application."""
    import uvicorn

    return uvicorn.Server(
        uvicorn.Config(
            app,  # pyright: ignore[reportArgumentType]
            http="h11",
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=3,
            h11_max_incomplete_event_size=HEADER_BYTES,
        )
    )


class Sweeper:
    """Closes connections whose headers do not arrive, and every stream when the server is to stop.

    uvicorn itself waits for headers without end, and for open streams until a limit.

    Args:
        broker: of the streams.
        seconds: for headers to arrive.
    """

    def __init__(self, broker: Broker, *, seconds: float = HEADER_SECONDS) -> None:
        self.broker = broker
        self.seconds = seconds
        self.server: uvicorn.Server | None = None

    async def run(self) -> None:
        """Look at the server until cancelled."""
        waiting: dict[object, float] = {}
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if self.server is None:
                continue
            if self.server.should_exit:
                self.broker.close()
            now = time.monotonic()
            silent = [
                connection
                for connection in self.server.server_state.connections
                if getattr(connection, "cycle", None) is None
            ]
            waiting = {each: waiting.get(each, now) for each in silent}
            for connection, since in waiting.items():
                transport = getattr(connection, "transport", None)
                if now - since > self.seconds and transport is not None:
                    transport.close()
