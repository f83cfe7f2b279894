"""Parse a command line into a frozen dataclass; every error is one sentence.

tyro derives the options from the dataclass and writes ``--help``. Its error boxes are converted to
one sentence.
"""

from __future__ import annotations

import contextlib
import io
import re
import sys
from collections.abc import Sequence
from typing import Any, TypeVar

import tyro

from animatediff.apps.options.declared import declares_options, parse_declared
from animatediff.config import nearest
from animatediff.errors import InputError

T = TypeVar("T")

_FRAME = "╭╮╰╯│ "
_RULE = re.compile("[─-]{3,}")


def optional(
    metavar: str,
    *,
    name: str | None = None,
    aliases: tuple[str, ...] = (),
    default: object = None,
) -> object:
    """Return the annotation of an optional option, for ``Annotated[int | None, ...]``.

    Args:
        metavar: name of its value in the help.
        name: the option, if different from the field.
        aliases: other spellings, such as ``-o``.
        default: the default, only for the help.
    """
    hint = "" if default is None else f"(default: {default})"
    return tyro.conf.arg(name=name, aliases=aliases, metavar=metavar, help_behavior_hint=hint)


def parse(options: type[T], arguments: Sequence[str], *, command: str, summary: str) -> T:
    """Parse the arguments.

    Raises:
        InputError: an option is unknown (the nearest known one is named), lacks its value, or has
            an invalid value.
        SystemExit: with code 0, after ``--help`` was printed.
    """

    def read(surface: type[Any], words: Sequence[str]) -> tuple[Any, list[str]]:
        return _read(surface, words, command=command, summary=summary)

    if declares_options(options):
        return parse_declared(
            options, arguments, command=command, summary=summary, parse_surface=read
        )
    value, unknown = read(options, arguments)
    if unknown:
        action = next((word for word in arguments[:1] if not word.startswith("-")), None)
        raise InputError(_unknown(unknown[0], options, command, action))
    return value


def _read(
    options: type[T], arguments: Sequence[str], *, command: str, summary: str
) -> tuple[T, list[str]]:
    """Return what tyro parsed, and the words that it does not know."""
    box = io.StringIO()
    try:
        with contextlib.redirect_stderr(box):
            value, unknown = tyro.cli(
                options,
                args=list(arguments),
                prog=f"animatediff {command}",
                description=summary,
                return_unknown_args=True,
                config=(tyro.conf.DisallowNone,),
            )
    except SystemExit as stop:
        if not stop.code:
            raise
        # What is wrong is often an unknown option, which tyro takes for a value that does not fit.
        stray, action = _stray_option(options, arguments, command)
        if stray is not None:
            raise InputError(_unknown(stray, options, command, action)) from None
        raise InputError(_box_to_sentence(box.getvalue(), command)) from None
    sys.stderr.write(box.getvalue())
    return value, unknown


def _stray_option(
    options: type, arguments: Sequence[str], command: str
) -> tuple[str | None, str | None]:
    """The first option that the command does not have, and the action word before the options."""
    action = next((word for word in arguments[:1] if not word.startswith("-")), None)
    known = {*_option_names(options, command, [])}
    if action is not None:
        known |= {*_option_names(options, command, [action])}
    named = (word for word in arguments if re.match(r"--[a-z]", word))
    return next((word for word in named if word.split("=", 1)[0] not in known), None), action


def _unknown(word: str, options: type, command: str, action: str | None) -> str:
    if not word.startswith("-"):
        return f"{word!r} was not expected after {command}; put text of several words in quotes."
    name = word.split("=", 1)[0]
    known = _option_names(options, command, [])
    # A command with subcommands lists its options under the subcommand.
    if action is not None:
        known = [*known, *_option_names(options, command, [action])]
    plain = {flag.lstrip("-"): flag for flag in known}
    close = nearest(name.lstrip("-"), plain)
    remedy = f"did you mean {plain[close]}?" if close else f"see animatediff {command} --help."
    return f"{command} has no option {name}; {remedy}"


def _option_names(options: type, command: str, action: list[str]) -> list[str]:
    """Read the option names from the help text, the one public place where tyro lists them."""
    text = io.StringIO()
    # A word that is no subcommand ends in a box of tyro's, which is not what is asked here.
    quiet = contextlib.redirect_stderr(io.StringIO())
    with quiet, contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
        tyro.cli(options, args=[*action, "--help"], prog=f"animatediff {command}")
    return re.findall(r"(?<![\w-])--?[a-z][\w-]*", text.getvalue())


def _box_to_sentence(box: str, command: str) -> str:
    """Return the text of tyro's box up to its first rule: the error without the help."""
    title, *lines = box.splitlines() or [""]
    del title
    words: list[str] = []
    for line in lines:
        text = line.strip(_FRAME)
        if not _RULE.match(text):
            words.append(text)
        elif any(words):  # a rule with nothing above it is the frame in a plain terminal
            break
    sentence = " ".join(" ".join(words).split())
    actions = re.match(r"Expected one of \{(.*)\}\.?$", sentence)
    if actions:
        return f"{command} needs a subcommand: {actions[1]}."
    missing = re.match(r"Missing from animatediff [\w -]+: (?:\{([^}]*)\}|(\S+))", sentence)
    if missing and missing[1]:
        choices = re.sub(r"\s", "", missing[1]).replace(",", ", ")
        return f"{command} needs one of {choices}; see animatediff {command} --help."
    if missing:
        return f"{command} needs {missing[2]}; see animatediff {command} --help."
    bad = re.match(r"Error parsing (\S+): .*invalid literal for int\(\) .*: ('.*')$", sentence)
    if bad:
        return f"{bad[1]} needs a whole number, not {bad[2]}."
    bad = re.match(r"Error parsing (\S+): .*could not convert string to float: ('.*')$", sentence)
    if bad:
        return f"{bad[1]} needs a number, not {bad[2]}."
    bad = re.match(r"Missing value for argument '(\S+)'", sentence)
    if bad:
        return f"{bad[1]} needs a value; see animatediff {command} --help."
    bad = re.match(
        r"invalid choice (.*) for argument '(\S+)'\. Expected one of \((.*?),?\)", sentence
    )
    if bad:
        listed = ", ".join(word for word in bad[3].split(", ") if word != "'None'")
        return f"{bad[2]} cannot be {bad[1]}; it is one of {listed}."
    return sentence or f"The options are invalid; see animatediff {command} --help."
