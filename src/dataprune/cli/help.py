"""The page of help: plain text in two columns, gathered as lines."""

import shutil
import textwrap
from typing import Any

WIDEST = 90  # columns of the page
INDENT = 24  # of what stands beside a name


class HelpPage:
    """Draws the panels of cyclopts as plain text, and is the console that it prints to: rich's own takes long to load."""

    options = None

    def __init__(self) -> None:
        self._text: list[str] = []

    def lines(self) -> list[str]:
        """Return what was drawn, and begin anew."""
        lines, self._text = "\n".join(self._text).rstrip().splitlines(), []
        return lines

    def print(self, text: Any = "", **_: Any) -> None:
        """Keep a line, as the version is printed."""
        self._text.append(str(getattr(text, "primary_renderable", text)))

    def render_usage(self, console: Any, options: Any, usage: Any) -> None:
        """Draw the line of usage."""
        self._text += [f"Usage: {str(usage).strip()}", ""]

    def render_description(self, console: Any, options: Any, description: Any) -> None:
        """Draw the docstring as it is, each paragraph wrapped."""
        for paragraph in str(description.primary_renderable).split("\n\n"):
            is_code = any(line.startswith(" ") for line in paragraph.splitlines())
            self._text += [*(paragraph.splitlines() if is_code else textwrap.wrap(paragraph, self._width())), ""]

    def __call__(self, console: Any, options: Any, panel: Any) -> None:
        """Draw the commands or the options."""
        if not panel.entries:
            return
        self._text.append(f"{panel.title}:")
        for entry in panel.entries:
            label = ", ".join(entry.display_labels_with_metavar)
            words = [" ".join(str(entry.description.primary_renderable).split())]
            words += [f"[{', '.join(entry.choices)}]"] if entry.choices else []
            words += [f"[default: {entry.default}]"] if entry.default not in (None, "", "False") else []
            words += ["[required]"] if entry.required else []
            lines = textwrap.wrap(" ".join(words), self._width() - INDENT, break_on_hyphens=False)
            if len(label) + 4 > INDENT:
                self._text.append(f"  {label}")
                label = ""
            head, *rest = lines or [""]
            self._text += [f"  {label:<{INDENT - 2}}{head}".rstrip(), *(" " * INDENT + line for line in rest)]
        self._text.append("")

    def _width(self) -> int:
        return max(60, min(WIDEST, shutil.get_terminal_size().columns))
