"""The command line: a table of commands; every error is one sentence with an exit code.

A new command is a file with a function of one frozen dataclass, and one line in ``COMMANDS``.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import sys
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from animatediff.apps.failures import EXIT_CODES, report
from animatediff.config import nearest
from animatediff.errors import InputError


@dataclass(frozen=True)
class Command:
    """One command of ``animatediff``.

    Attributes:
        name: the word on the command line, or two words.
        home: ``module:function`` below ``animatediff.apps``, imported only when needed. The function
            takes one frozen dataclass, which declares its options, and returns an exit code or nothing.
        summary: one line for the help.
    """

    name: str
    home: str
    summary: str

    def function(self) -> Callable[[object], int | None]:
        """Import and return the function."""
        module, _, name = self.home.partition(":")
        return getattr(importlib.import_module(f"animatediff.apps.{module}"), name)


COMMANDS = (
    Command("animate", "commands.animate:animate", "Create an animation from a prompt."),
    Command("batch", "many.batch:batch", "Create every animation of a file of prompts."),
    Command(
        "grid",
        "many.grid:grid",
        "Compare values of one or two options in a labelled table.",
    ),
    Command("rerun", "commands.rerun:rerun", "Create an animation again from its file."),
    Command("finish", "commands.finish:finish", "Interpolate, enlarge or replay a video."),
    Command(
        "serve",
        "server.serve:serve",
        "Serve a page and an API, with a queue of jobs.",
    ),
    Command("inspect", "commands.inspect:inspect", "Identify weight files."),
    Command("models", "commands.models:models", "List, verify or download models."),
    Command(
        "dataset",
        "commands.dataset:dataset",
        "Check a dataset, encode it into shards, or render the built-in one.",
    ),
    Command("train", "commands.train:train_stage", "Run one training stage."),
    Command("evaluate", "commands.evaluation.evaluate:evaluate", "Measure a model."),
    Command(
        "evaluate table1",
        "commands.evaluation.table1:table1",
        "Compare AnimateDiff with its baselines on the same prompts (Table 1).",
    ),
    Command(
        "evaluate join",
        "commands.evaluation.join:join",
        "Join results of table1 that were measured apart.",
    ),
    Command(
        "evaluate frechet",
        "commands.evaluation.frechet:frechet",
        "Fréchet video distance of given features.",
    ),
    Command(
        "study",
        "commands.evaluation.study:study",
        "Run a user study of Table 1: make its page, serve it, collect answers, report ranks.",
    ),
    Command(
        "ablation",
        "commands.evaluation.ablation:ablation",
        "Measure one ablation of the paper, with its page and plots.",
    ),
    Command(
        "paper",
        "commands.evaluation.paper:paper",
        "Write pages and plots of the paper's experiments from results.",
    ),
    Command(
        "baseline",
        "commands.evaluation.baseline:baseline",
        "Draw a video by Text2Video-Zero or Tune-A-Video.",
    ),
    Command(
        "preprocess",
        "commands.preprocess:preprocess",
        "Draw edges, lines or tiles of a video for a control network.",
    ),
    Command(
        "convert",
        "commands.convert:convert",
        "Convert a weight file to another layout.",
    ),
    Command("pack", "commands.pack:pack", "Copy a trained model into the package."),
    Command(
        "config",
        "commands.user_config:config",
        "Show or set where outputs go and how they are named.",
    ),
    Command("doctor", "commands.doctor:doctor", "Report what this machine has and lacks."),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line (by default this process's own) and return its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _dispatch(words)
    except SystemExit as stop:  # tyro's --help
        return stop.code if isinstance(stop.code, int) else 0
    except BrokenPipeError:  # the reader, e.g. head, has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except BaseException as error:  # noqa: BLE001 - the edge: whatever it is, it ends in a sentence
        return report(error)


def _dispatch(words: Sequence[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(help_text())
        return 0 if words else 2
    if words[0] in ("-V", "--version"):
        print(f"animatediff {version()}")
        return 0
    command = _command_of(words)
    if command is None:
        raise InputError(_unknown_command(words[0]))
    from animatediff.apps.heap import keep_freed_memory
    from animatediff.apps.options.parsing import parse

    keep_freed_memory()
    run = command.function()
    rest = words[len(command.name.split()) :]
    options = parse(_options_of(run), rest, command=command.name, summary=command.summary)
    return run(options) or 0


def _command_of(words: Sequence[str]) -> Command | None:
    """Return the command with the longest name that the words start with."""
    for count in (2, 1):
        name = " ".join(words[:count])
        found = next((command for command in COMMANDS if command.name == name), None)
        if found is not None:
            return found
    return None


def help_text() -> str:
    """Return what ``animatediff --help`` prints, without importing torch."""
    width = max(len(command.name) for command in COMMANDS)
    commands = (f"  {command.name:<{width}}  {command.summary}" for command in COMMANDS)
    codes = (f"  {code:>3}  {meaning}" for code, meaning in EXIT_CODES.items())
    return "\n".join(
        [
            "usage: animatediff COMMAND [OPTIONS]",
            "",
            'Animations from text, e.g. animatediff animate "a fox, flat style" -o fox.mp4',
            "",
            "commands (each has its own --help):",
            *commands,
            "",
            "options:",
            "  --help     print this",
            "  --version  print the version",
            "",
            "exit codes:",
            *codes,
        ]
    )


def version() -> str:
    """Return the installed version."""
    try:
        return importlib.metadata.version("animatediff")
    except importlib.metadata.PackageNotFoundError:
        return "0 (run from source, not installed)"


def _options_of(function: Callable[[object], int | None]) -> type:
    hints = typing.get_type_hints(function, include_extras=True)
    return next(hint for name, hint in hints.items() if name != "return")


def _unknown_command(word: str) -> str:
    names = [command.name for command in COMMANDS]
    close = nearest(word, names)
    if close:
        return f"There is no command {word!r}; did you mean {close}?"
    if " " in word:
        return f"There is no command {word!r}; for a prompt, write: animatediff animate {word!r}."
    return f"There is no command {word!r}; commands are {', '.join(names)}."
