"""The four ways in which dataprune fails, and the words it says then."""

import difflib
from collections.abc import Iterable
from types import UnionType
from typing import SupportsFloat

ALIKE = 0.5  # of two names, from which on one may be meant by the other


class DatapruneError(Exception):
    r"""Something failed in a way that one line explains; `exit_code` is what the command line returns.

    What is quoted from a file (a column's name, a path) may hold anything: line ends and control characters become escapes.

    Example:
        >>> print(DatapruneError("it has the columns id, a\nb\x1b[2J"))
        it has the columns id, a\nb\x1b[2J
    """

    exit_code = 1

    def __init__(self, message: str) -> None:
        super().__init__("".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in message))


class InputError(DatapruneError, ValueError):
    """The call or the data given are wrong (also an output folder that holds something else)."""

    exit_code = 2


class StoreError(DatapruneError):
    """A file that dataprune wrote is damaged, missing or of a version that cannot be read."""

    exit_code = 3


class MachineError(DatapruneError):
    """The environment does not allow it: disk, memory, device, permission, a missing extra."""

    exit_code = 4


class WorkError(DatapruneError):
    """The work ended, but some of it failed."""

    exit_code = 1


def invalid(name: str, requirement: str, got: object, cure: str = "") -> InputError:
    """Build the error for a bad argument: `` `name` must <requirement>, got <got>. <cure> ``.

    Example:
        >>> str(invalid("keep", "be in (0, 1]", 30, "It is the fraction kept: write 0.3 to keep 30 %."))
        '`keep` must be in (0, 1], got 30. It is the fraction kept: write 0.3 to keep 30 %.'
    """
    return InputError(f"`{name}` must {requirement}, got {got}." + (f" {cure}" if cure else ""))


def check_type(name: str, value: object, kind: type | UnionType, cure: str = "") -> None:
    """Refuse what is of another type than the call needs.

    Raises:
        InputError: with the type that was given.
    """
    if not isinstance(value, kind):
        kinds: tuple[type, ...] = (kind,) if isinstance(kind, type) else kind.__args__
        raise invalid(name, f"be of type {' or '.join(one.__name__ for one in kinds)}", type(value).__name__, cure)


def unknown_choice(name: str, value: str, choices: Iterable[str], also: Iterable[str] = ()) -> InputError:
    """Build the error for a name that is not among `choices`, with the nearest one offered, of these or of other words for them.

    Example:
        >>> str(unknown_choice("score", "el2m", ["el2n", "std"]))
        "`score` must be one of el2n, std, got 'el2m'. Did you mean 'el2n'?"
        >>> str(unknown_choice("encoder", "net", ["net-1", "net-0"]))
        "`encoder` must be one of net-0, net-1, got 'net'. Did you mean 'net-0'?"
    """
    valid = sorted(choices)
    if not valid:
        return invalid(name, "name one that is there", repr(value), "There is none.")
    likeness = {one: difflib.SequenceMatcher(None, one, str(value)).ratio() for one in (*valid, *also)}
    near = max(likeness, key=likeness.__getitem__)  # the first of equals
    hint = f"Did you mean '{near}'?" if likeness[near] >= ALIKE else ""
    return invalid(name, f"be one of {join_some(valid, most=30)}", repr(value), hint)


def join_some(items: Iterable[object], total: int | None = None, most: int = 5) -> str:
    """Name the first few bad items and count the rest, for messages.

    Example:
        >>> join_some([3, 5, 8, 9], most=2)
        '3, 5 and 2 more'
    """
    rows = list(items)
    n = len(rows) if total is None else total
    shown = ", ".join(str(row) for row in rows[:most])
    return shown if n <= most else f"{shown} and {n - most} more"


def percent(share: SupportsFloat, places: int = 0, sign: str = "") -> str:
    """Write a share in percent.

    Example:
        >>> percent(0.25), percent(0.0123, 1), percent(0.02, sign="+")
        ('25 %', '1.2 %', '+2 %')
    """
    return f"{100 * float(share):{sign}.{places}f} %"


def one_line(error: BaseException, most: int = 200) -> str:
    """Return what another library's error says, in one line and shortened."""
    return " ".join(str(error).split())[:most].rstrip(".") or type(error).__name__
