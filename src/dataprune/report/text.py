"""Text that came from data, shown without doing any harm; shares, durations and counts in words."""

from dataprune.errors import percent


def display_text(text: object, most: int = 80) -> str:
    r"""Write an id, a class name or a path so that it fits one line and nothing in it is acted upon.

    What is not printable (control characters, line ends, marks of direction, bytes that were no UTF-8) becomes backslash escapes;
    what is longer than `most` characters loses its middle.

    Example:
        >>> display_text("cat\x1b[31m\n\u202egpj.exe")
        'cat\\x1b[31m\\n\\u202egpj.exe'
        >>> display_text("abcdefghijkl", most=9)
        'abc...jkl'
    """
    given = str(text)
    if len(given) <= most and given.isprintable():
        return given
    if len(given) > 4 * most:  # an id may be a million letters: only what can be shown is looked at
        given = given[: 2 * most] + given[-2 * most :]
    harmless = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in given)
    if len(harmless) <= most:
        return harmless
    head = (most - 3 + 1) // 2
    return f"{harmless[:head]}...{harmless[len(harmless) - (most - 3 - head) :]}"


def capitalise(text: str) -> str:
    """Begin a note as a sentence does; one that begins with a name (of a score) stays.

    Example:
        >>> capitalise("no intervals: one seed"), capitalise("el2n, keep 0.5")
        ('No intervals: one seed', 'el2n, keep 0.5')
    """
    first = text.split(" ", 1)[0].rstrip(",:;")
    return text[:1].upper() + text[1:] if first.isalpha() else text


def duration(seconds: float) -> str:
    """Write a duration as a person would say it.

    Example:
        >>> [duration(s) for s in (0.42, 12.3, 250, 9000)]
        ['0.4 s', '12 s', '4.2 min', '2.5 h']
    """
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"


def operations(flops: float) -> str:
    """Write a number of floating-point operations; of trees there is none.

    Example:
        >>> operations(1.83e12), operations(3e9)
        ('1.83 TFLOP', '3 GFLOP')
    """
    if not flops:
        return "operations not counted"
    size, unit = next((pair for pair in ((1e15, "PFLOP"), (1e12, "TFLOP"), (1e9, "GFLOP")) if flops >= pair[0]), (1e6, "MFLOP"))
    return f"{flops / size:.3g} {unit}"


def pluralise(count: int, thing: str) -> str:
    """Write a count with its noun.

    Example:
        >>> pluralise(1, "class"), pluralise(1200, "class")
        ('1 class', '1,200 classes')
    """
    ending = "" if count == 1 else "es" if thing.endswith("s") else "s"
    return f"{count:,} {thing}{ending}"


def eyes(networks: str, accuracy: float | None) -> str:
    """Say what judged the examples, and how well.

    Example:
        >>> eyes("linear on vectors of efficientnet-lite0", 0.8174)
        'linear on vectors of efficientnet-lite0; 81.7 % of the given labels are named by networks that did not see them'
    """
    if accuracy is None:
        return f"{display_text(networks, 130)}; labels are judged by networks that were trained on them"
    return f"{display_text(networks, 130)}; {percent(accuracy, 1)} of the given labels are named by networks that did not see them"
