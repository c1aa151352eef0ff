"""The commands, their pages of help, and what is wrong with a command line, in our words."""

import contextlib
import difflib
import re
import shutil
import textwrap
from collections.abc import Callable, Iterable, Iterator
from inspect import getdoc
from types import UnionType
from typing import Any, Literal, get_args, get_origin

from cyclopts import App, Argument, ArgumentCollection, CycloptsError, Parameter, exceptions

import dataprune as dp
from dataprune.cli import noise
from dataprune.cli.advise import advise
from dataprune.cli.check import check
from dataprune.cli.demo import demo
from dataprune.cli.duplicates import duplicates
from dataprune.cli.embed import embed, km, map_
from dataprune.cli.lines import begin, is_quiet, say, write_out
from dataprune.cli.options import OPTIONS
from dataprune.cli.prune import prune
from dataprune.cli.report import export, report, verify
from dataprune.cli.results import finish
from dataprune.cli.review import review
from dataprune.cli.score import score
from dataprune.cli.show import show
from dataprune.cli.study import study
from dataprune.errors import invalid, unknown_choice

HELP = """Find out which examples of a training set are hard, and keep the part that is worth training on.

First score a set, then prune it:
    dataprune score flowers/train --out run
    dataprune prune run --keep 0.7 --out kept.csv

To see it work on a set that is built in, which takes about a minute: dataprune demo
"""
FLAGS = [("--help, -h", "Display this message and exit."), ("--version", "Display application version.")]
JSON = ("--json", "Print one JSON object in place of words.")
WIDEST = 90  # columns of a page of help
INDENT = 24  # of what stands beside a name

SHARED: dict[str, Any] = {
    "help_flags": ["--help", "-h"],
    "group_arguments": OPTIONS,
    "group_parameters": OPTIONS,
    "default_parameter": Parameter(negative=(), allow_repeating=True),
}
app = App("dataprune", help=HELP, version_flags=["--version"], **SHARED)
noise_app = App("noise", help="Find, judge and correct wrong labels; or make them.", version_flags=[], **SHARED)


def completion(shell: Literal["bash", "zsh", "fish"], /) -> object:
    """Print a script by which a shell completes commands, options, choices and names of scores, strategies, recipes and the like.

    For example:
        dataprune completion bash > ~/.local/share/bash-completion/completions/dataprune

    Args:
        shell: Whose script.
    """
    from dataprune.cli.completion import named_choices

    with named_choices():
        script = app.generate_completion(shell=shell)
    if not is_quiet():
        write_out(script)
    return script


Command = Callable[..., object]
COMMANDS: list[Command] = [demo, score, prune, embed, km, duplicates, check, show, study]
COMMANDS += [advise, review, report, export, verify, map_, completion]
NOISE_COMMANDS: list[Command] = [noise.inject, noise.find, noise.audit, noise.check, noise.apply]
for _parent, _commands in ((app, COMMANDS), (noise_app, NOISE_COMMANDS)):
    for _command in _commands:
        _parent.command(_command)
app.command(noise_app)


def run(words: list[str]) -> int:
    """Parse a command line, do what it asks, print the result where --json asks for it, and return the exit code."""
    no_console: Any = object()  # cyclopts would make one of rich, which takes long to load
    command, bound, _ = app.parse_args(words, console=no_console, error_console=no_console, exit_on_error=False, print_error=False)
    begin(words, bound.arguments.get("quiet", False))
    if command.__name__ == "version_print":
        say(f"dataprune {dp.__version__}")
        return finish("version", dp.__version__)
    if command.__name__ == "help_print":
        page = "\n".join(help_page(bound.arguments["tokens"])).rstrip()
        say(*page.splitlines())
        return finish("help", page)
    return finish(" ".join(app.parse_commands(words)[0]), command(*bound.args, **bound.kwargs))


def help_page(words: Iterable[str]) -> Iterator[str]:
    """Draw the page of a command: plain text in two columns."""
    chain, apps, _ = app.parse_commands(words)
    shown, width = apps[-1], max(60, min(WIDEST, shutil.get_terminal_size().columns))
    command = shown.default_command
    arguments = [] if command is None else [one for one in shown.assemble_argument_collection(parse_docstring=True) if one.show]
    commands = [(name, _description(shown[name]).split("\n\n")[0]) for name in shown if not name.startswith("-")]
    named = [one for one in arguments if one.index is None]
    usage_words = [_label(one) for one in named if one.required]
    usage_words += ["[OPTIONS]"] if len(named) > len(usage_words) else []
    usage_words += [_label(one) if one.required else f"[{_label(one)}]" for one in arguments if one.index is not None]
    yield " ".join(("Usage: dataprune", *chain, *(usage_words if command else ["COMMAND"])))
    yield ""
    for paragraph in _description(shown).split("\n\n"):
        is_code = any(line.startswith(" ") for line in paragraph.splitlines())
        yield from (*(paragraph.splitlines() if is_code else textwrap.wrap(paragraph, width)), "")
    yield "Options:" if command else "Commands:"
    flags = [JSON, *FLAGS] if shown is app else [JSON] if command else []
    for label, words in [*((_label(one), _help(one)) for one in arguments), *commands, *flags]:
        first, *rest = textwrap.wrap(words, width - INDENT, break_on_hyphens=False) or [""]
        if len(label) + 4 > INDENT:
            yield f"  {label}"
            label = ""
        yield f"  {label:<{INDENT - 2}}{first}".rstrip()
        yield from (" " * INDENT + line for line in rest)


def _description(command: App) -> str:
    """Return the help of an app, or the docstring of a command without its options."""
    return (getdoc(command.default_command) or "").partition("\n\nArgs:")[0] if command.default_command else command.help


def _label(argument: Argument) -> str:
    if argument.index is not None:
        return argument.name.lstrip("-").upper()
    kind = get_args(argument.hint)[0] if isinstance(argument.hint, UnionType) else argument.hint
    many = get_origin(kind) is list
    value = "CHOICE" if argument.get_choices() else (get_args(kind)[0] if many else kind).__name__.upper()
    value = argument.parameter.metavar or ("" if kind is bool else value + "..." * many)
    return f"{argument.name} {value}".rstrip()


def _help(argument: Argument) -> str:
    choices, default = argument.get_choices(), argument.field_info.default
    words = [" ".join((argument.parameter.help or "").split())]
    words += [f"[{', '.join(choices)}]"] if choices else []
    words += ["[required]"] if argument.required else [] if default is None or default is False else [f"[default: {default}]"]
    return " ".join(words)


def usage(error: CycloptsError) -> str:
    """Say in our words what is wrong with a command line."""
    command = " ".join(("dataprune", *(error.command_chain or ())))
    see = f"See {command} --help."
    argument = error.argument
    name = "" if argument is None else argument.name
    if isinstance(error, exceptions.UnknownCommandError) and error.unused_tokens:
        names = [one for one in (error.app or app) if not one.startswith("-")]
        return f"{unknown_choice('command', error.unused_tokens[0], names)} {see}"
    if isinstance(error, exceptions.UnknownOptionError):
        word, options = error.token.keyword or error.token.value, _options(error.argument_collection)
        if word not in options:
            return f"{_no_option(word, options)} {see}"
        error = exceptions.UnusedCliTokensError(unused_tokens=[word])  # behind a `--`
    if isinstance(error, exceptions.UnusedCliTokensError):
        return f"there are more arguments than {command} takes: {' '.join(error.unused_tokens or ())}. {see}"
    if isinstance(error, exceptions.MissingArgumentError):
        mistyped = [one for one in error.unused_tokens or () if difflib.get_close_matches(name, [one]) and one != name]
        if mistyped:
            return f"{_no_option(mistyped[0], [name])} {see}"
        return f"`{name}` must be {'followed by its value' if error.keyword or (argument and argument.tokens) else 'given'}. {see}"
    if isinstance(error, exceptions.ValidationError) and argument is not None:
        return str(invalid(name, error.exception_message, argument.value))
    if isinstance(error, exceptions.CoercionError) and error.token is not None:
        choices, value = get_args(error.target_type), error.token.value
        if choices and all(isinstance(one, str) for one in choices):
            return str(unknown_choice(name, value, choices))
        kind = {int: "a whole number", float: "a number"}.get(error.target_type or str, str(error.target_type))
        return str(invalid(name, f"be {kind}", repr(value)))
    return f"{' '.join(str(error).split())} {see}"


def as_typed(message: str, words: list[str]) -> str:
    """Name an option as it is typed where a message begins with the name of a setting: `epochs` becomes `--epochs`."""
    found = re.match(r"`(\w+)`", message)
    if found is None:
        return message
    with contextlib.suppress(CycloptsError):
        _, apps, _ = app.parse_commands(words)
        option = f"--{found[1].replace('_', '-')}"
        if apps[-1].default_command is not None and option in _options(apps[-1].assemble_argument_collection()):
            return f"`{option}`{message[found.end() :]}"
    return message


def _no_option(word: str, options: list[str]) -> str:
    near = difflib.get_close_matches(word, options, n=1)
    return f"there is no option `{word}`.{f' Did you mean `{near[0]}`?' if near else ''}"


def _options(arguments: ArgumentCollection | None) -> list[str]:
    return [name for argument in arguments or () for name in argument.names if name.startswith("-")]
