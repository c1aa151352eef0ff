"""How do texts get in and out of a plain file, one a line?"""

import re
from collections.abc import Iterable
from pathlib import Path

from dataprune.tables.files import reading, regular, unicode_text


def write_lines(path: Path, lines: Iterable[str]) -> None:
    r"""Write one text a line, UTF-8. Backslash, newline and carriage return in it become `\\`, `\n`, `\r`."""
    escaped = [line.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r") for line in lines]
    # A text that begins with U+FEFF would be taken for a byte order mark at the file's beginning: one more protects it.
    mark = "\ufeff" if escaped and escaped[0].startswith("\ufeff") else ""
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(mark)
        file.writelines(f"{unicode_text(line, str(path))}\n" for line in escaped)


def read_lines(path: Path) -> list[str]:
    """Read what `write_lines` wrote, or any UTF-8 text file; other escapes are left as they stand.

    Raises:
        InputError: missing, or not UTF-8.
    """
    with reading(regular(path), "UTF-8 text file"):
        text = path.read_bytes().decode("utf-8-sig")
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    meant = {"\\": "\\", "n": "\n", "r": "\r"}
    return [re.sub(r"\\([\\nr])", lambda match: meant[match[1]], line.removesuffix("\r")) for line in lines]
