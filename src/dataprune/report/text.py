"""How is text that came from data shown without doing any harm?"""


def display_text(text: object, most: int = 80) -> str:
    r"""Write an id, a class name or a path so that it fits one line and nothing in it is acted upon.

    Control characters, escape sequences, line ends, marks that turn the direction of writing, and bytes that were no UTF-8 become
    backslash escapes. What is longer than `most` characters loses its middle.

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
