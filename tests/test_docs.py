"""The pages say what the code does: commands and options exist, code compiles and calls what there is, links and tables hold."""

import ast
import inspect
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import pytest
from cyclopts import App, CycloptsError

import dataprune
from dataprune.errors import InputError

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
ids = {"ids": lambda value: value.name if isinstance(value, Path) else None}


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    language: str
    text: str
    line: int


def blocks(page: Path) -> list[Block]:
    found, start, language, lines = [], 0, "", []
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        fence = re.match(r"\s*```(\w*)", line)
        if fence and not start:
            start, language, lines = number, fence[1], []
        elif fence:
            found.append(Block(language, "\n".join(lines), start))
            start = 0
        elif start:
            lines.append(line)
    assert not start, f"{page.name}:{start} a block that does not end"
    return found


def prose(page: Path) -> str:
    return re.sub(r"^\s*```.*?^\s*```\s*$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


# Commands


def command_lines(page: Path) -> list[str]:
    """Return the calls of dataprune in a page's shell blocks, without prompt, comment and what they are piped into."""
    lines = []
    for block in blocks(page):
        if block.language in ("sh", "bash", "console"):
            for line in block.text.replace("\\\n", " ").splitlines():
                parts = re.split(r"\s(?:\||&&)\s", re.sub(r"^(\$ )?([A-Z_]+=\S+ )*", "", line.strip()))
                lines += [part for part in parts if part.split()[:1] == ["dataprune"]]
    return lines


def mentions(page: Path) -> list[str]:
    """Return the calls that the prose mentions: `dataprune score ...`."""
    return [text for text in re.findall(r"`(dataprune(?: [^`]+)?)`", prose(page)) if "\n" not in text]


def command_faults(app: App, line: str, *, is_complete: bool) -> str:
    """Return why the command line would refuse a call before it looks at any file; empty if it would not."""
    _, *words = shlex.split(line.partition(" > ")[0].partition(" | ")[0], comments=True)
    words = [word for word in words if word not in ("--help", "--json")]
    _, apps, rest = app.parse_commands(words)
    command = apps[-1]
    if command.default_command is None:
        return f"no command {rest[0]!r}" if rest else ""
    if is_complete:
        try:
            app.parse_args(words, exit_on_error=False, print_error=False)  # parses and converts, calls nothing
        except (CycloptsError, InputError) as refused:
            return " ".join(str(refused).split())
        return ""
    known = {name for argument in command.assemble_argument_collection() for name in argument.names}
    unknown = [word for word in rest if re.fullmatch(r"--?[a-z][\w-]*", word) and word not in known]
    return f"no option {unknown[0]}" if unknown else ""


@pytest.fixture(scope="module")
def cli() -> App:
    from dataprune.cli.app import app

    return app


@pytest.mark.parametrize("page", PAGES, **ids)
def test_every_command_would_be_taken(page: Path, cli: App) -> None:
    faults = {line: command_faults(cli, line, is_complete=True) for line in command_lines(page)}
    faults |= {line: command_faults(cli, line, is_complete=False) for line in mentions(page)}
    assert {line: fault for line, fault in faults.items() if fault} == {}


def test_every_command_is_documented(cli: App) -> None:
    shown = {shlex.split(line, comments=True)[1] for page in PAGES for line in command_lines(page) if " " in line}
    assert {name for name in cli if not name.startswith("-")} - shown == set()


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("dataprune scroe digits --out run", "no command 'scroe'"),
        ("dataprune score digits --ou run", "--ou"),
        ("dataprune score digits --out run --effort huge", "huge"),
        ("dataprune score digits", "--out requires an argument"),
        ("dataprune score --out run", "DATA requires an argument"),
        ("dataprune score a b --out run", "Unused Tokens: ['b']"),
        ("dataprune prune run --by el2n --keep", "--keep"),
    ],
)
def test_wrong_command_is_seen(cli: App, line: str, fault: str) -> None:
    assert fault in command_faults(cli, line, is_complete=True)


def test_wrong_mention_is_seen(cli: App) -> None:
    assert command_faults(cli, "dataprune score --nothing", is_complete=False) == "no option --nothing"
    assert command_faults(cli, "dataprune nothing", is_complete=False) == "no command 'nothing'"
    assert command_faults(cli, "dataprune score DATA --out RUN ...", is_complete=False) == ""


# Code


CALLBACKS = {f"dataprune.integrations.{one}": ("RecordTrace",) for one in ("huggingface", "lightning", "accelerate")}


def code_faults(text: str) -> list[str]:
    """Return what in a piece of code does not exist in dataprune, or is called with what it does not take."""
    tree = ast.parse(text)
    faults = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "dataprune":
            names = dataprune.__all__ if node.module == "dataprune" else CALLBACKS.get(node.module or "", ())
            faults += [f"{node.module}.{a.name} is not public" for a in node.names if a.name not in names]
        name = public_name(node)
        if name and name not in dataprune.__all__:
            faults.append(f"dp.{name} is not public")
        elif isinstance(node, ast.Call) and (called := public_name(node.func)) in dataprune.__all__:
            faults += call_faults(node, called)
    return faults


def public_name(node: ast.AST) -> str:
    is_ours = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in ("dp", "dataprune")
    return node.attr if is_ours else ""


def call_faults(call: ast.Call, name: str) -> list[str]:
    if any(isinstance(argument, ast.Starred) for argument in call.args) or any(keyword.arg is None for keyword in call.keywords):
        return []
    try:
        inspect.signature(getattr(dataprune, name)).bind(*call.args, **{str(k.arg): k.value for k in call.keywords})
    except TypeError as refused:
        return [f"dp.{name}: {refused}"]
    return []


@pytest.mark.parametrize("page", PAGES, **ids)
def test_code_compiles_and_calls_what_there_is(page: Path) -> None:
    faults = []
    for block in blocks(page):
        if block.language == "python":
            try:
                faults += [f"{page.name}:{block.line} {fault}" for fault in code_faults(block.text)]
            except SyntaxError as error:
                faults.append(f"{page.name}:{block.line + (error.lineno or 0)} {error.msg}")
    assert faults == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("dp.nothing", "dp.nothing is not public"),
        ("from dataprune import nothing", "dataprune.nothing is not public"),
        ("from dataprune.run import score", "dataprune.run.score is not public"),
        ("dp.read('flowers', lables='l.csv')", "dp.read: got an unexpected keyword argument 'lables'"),
        ("dp.Recorder(labels)", "dp.Recorder: missing a required argument: 'n_classes'"),
    ],
)
def test_wrong_code_is_seen(text: str, fault: str) -> None:
    assert code_faults(text) == [fault]


# Links, tree, tables


def headings(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as they are made where such pages are shown."""
    titles = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def link_faults(page: Path) -> list[str]:
    faults = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        place = (page.parent / path).resolve() if path else page
        if not place.is_relative_to(ROOT) or not place.exists():
            faults.append(f"{target} is not there")
        elif anchor and anchor not in headings(place):
            faults.append(f"{target}: no such heading")
    return faults


# Tests that a page calls its proof


def missing_tests(text: str) -> list[str]:
    """List what is named as a test and is none."""
    missing = []
    for place, _, name in (mention.partition("::") for mention in re.findall(r"`(tests/[^`]+\.py(?:::\w+)?)`", text)):
        file = ROOT / place
        if not file.is_file() or (name and not re.search(rf"def {name}\(", file.read_text(encoding="utf-8"))):
            missing.append(f"{place}::{name}")
    return missing


@pytest.mark.parametrize("page", PAGES, **ids)
def test_tests_that_are_named_are_there(page: Path) -> None:
    assert missing_tests(page.read_text(encoding="utf-8")) == []


def test_a_test_that_is_not_there_is_seen() -> None:
    assert missing_tests("`tests/test_docs.py::test_nothing` `tests/none.py`") == [
        "tests/test_docs.py::test_nothing",
        "tests/none.py::",
    ]


@pytest.mark.parametrize("page", PAGES, **ids)
def test_links_lead_somewhere(page: Path) -> None:
    assert link_faults(page) == []


def test_wrong_link_is_seen(tmp_path: Path) -> None:
    page = ROOT / "docs" / "never-written.md"
    text = "[a](scores.md) [b](none.md) [c](scores.md#strategies) [d](scores.md#none) [e](https://example.org)"
    fake = type("Fake", (), {"read_text": lambda self, encoding: text, "parent": page.parent})()
    assert link_faults(fake) == ["none.md is not there", "scores.md#none: no such heading"]


def tree_paths(text: str) -> list[str]:
    """Return the paths that an annotated tree names: two blanks of indentation a level, the name first."""
    paths, above = [], []
    for line in text.splitlines():
        name = line.split()[0]
        depth = (len(line) - len(line.lstrip())) // 2
        above = [*above[:depth], name]
        paths.append("".join(above))
    return paths


def test_tree_names_what_is_there() -> None:
    (tree,) = (block.text for block in blocks(ROOT / "CONTRIBUTING.md") if block.text.startswith("src/dataprune/"))
    named = tree_paths(tree)
    assert [path for path in named if not (ROOT / path).exists()] == []
    rooms = {
        path.name for path in (ROOT / "src" / "dataprune").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert rooms == {path.split("/")[2] for path in named if path.startswith("src/dataprune/") and path != "src/dataprune/"}


def test_tree_is_read_by_its_indentation() -> None:
    assert tree_paths("src/a/\n  b.py   words\n  c/     words\n    d.py\ntests/  words") == [
        "src/a/",
        "src/a/b.py",
        "src/a/c/",
        "src/a/c/d.py",
        "tests/",
    ]


def rows(page: Path, after: str) -> list[list[str]]:
    """Return the rows of the first table after a heading, as cells, without its head."""
    text = page.read_text(encoding="utf-8").split(f"\n## {after}\n")[1].split("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_scores_stand_on_their_page_with_their_direction() -> None:
    from dataprune.scores import FEATURE_SCORES, NETWORK_SCORES, SCORES

    page = ROOT / "docs" / "scores.md"
    for heading, table in {"Scores of a trace": SCORES, "Scores of the networks": NETWORK_SCORES}.items():
        told = {row[0].strip("`"): (row[3], row[4]) for row in rows(page, heading)}
        assert told == {name: ("larger" if spec.harder == 1 else "smaller", spec.needs) for name, spec in table.items()}
        papers = {row[0].strip("`"): re.findall(r"arXiv:\d+\.\d+", row[5]) for row in rows(page, heading)}
        assert papers == {name: re.findall(r"arXiv:\d+\.\d+", spec.source) for name, spec in table.items()}
    of_features = rows(page, "Scores of features")
    assert [row[0].strip("`") for row in of_features] == ["median_distance", *FEATURE_SCORES]
    told = {row[0].strip("`"): tuple(row[3:6]) for row in of_features[1:]}
    assert told == {
        name: ("larger" if spec.harder == 1 else "smaller", spec.needs, spec.source) for name, spec in FEATURE_SCORES.items()
    }


def test_endings_that_are_read_stand_in_the_how_to() -> None:
    from dataprune.data.reading import READERS

    told = " ".join(row[1] for row in rows(ROOT / "docs" / "howto.md", "Read other data"))
    assert [ending for ending in READERS if ending not in told] == []


def test_strategies_stand_on_their_page() -> None:
    from dataprune.selection import STRATEGIES

    assert [row[0].strip("`") for row in rows(ROOT / "docs" / "scores.md", "Strategies")] == list(STRATEGIES)


def test_models_and_recipes_stand_in_the_how_to() -> None:
    from dataprune.training.models import MODELS
    from dataprune.training.recipes import RECIPES

    page = ROOT / "docs" / "howto.md"
    assert [row[0].strip("`") for row in rows(page, "Choose the model and the recipe")] == [*MODELS, *RECIPES]


def test_every_public_name_stands_once_on_its_page() -> None:
    told = re.findall(r"^\.\. (?:auto\w+|py:data):: dataprune\.(\w+)$", (ROOT / "docs" / "api.md").read_text("utf-8"), re.MULTILINE)
    assert sorted(told) == sorted(name for name in dataprune.__all__ if not name.startswith("_"))


def test_version_is_in_the_changelog() -> None:
    from importlib.metadata import version

    assert f"## {version('dataprune')}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
