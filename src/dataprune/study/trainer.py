"""A training that is not ours: a command with places to fill in, or a function, and the metric that it is judged by."""

import inspect
import re
import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from dataprune import plugins, store
from dataprune.errors import invalid, unknown_choice
from dataprune.study.metric import ACCURACY, Metric

PLACES = ("ids", "rows", "test", "validation", "folder", "seed", "budget", "out", "result")
SHELL = {"&&", "||", "|", ";", "&", ">", ">>", "<", "2>&1"}
SHELLS = ("sh", "bash", "dash", "zsh")


@dataclass(frozen=True)
class Trainer:
    """What trains in the place of our networks: `module:function`, or a command with `PLACES`."""

    call: str
    metric: Metric = ACCURACY

    @cached_property
    def is_function(self) -> bool:
        return re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*", self.call) is not None

    @cached_property
    def words(self) -> list[str]:
        """The words of the command, taken apart as a shell does."""
        try:
            return shlex.split(self.call)
        except ValueError as error:
            raise invalid("trainer", f"be a command with its quotes closed ({error})", repr(self.call)) from None

    @cached_property
    def places(self) -> frozenset[str]:
        """The names between braces; a function is told all but `folder`."""
        return frozenset(set(PLACES) - {"folder"} if self.is_function else re.findall(r"\{(\w*)\}", self.call))

    def check(self) -> None:
        """Refuse a call from which no trial can come."""
        for name in sorted(self.places - set(PLACES)):
            raise unknown_choice("trainer", f"{{{name}}}", [f"{{{place}}}" for place in PLACES])
        if not self.call.strip():
            raise invalid("trainer", "be a command or module:function", repr(self.call))
        for operator in () if self.is_function else sorted(SHELL.intersection(self.words)):
            cure = "Put the command into a script, or write sh -c '...'."
            raise invalid("trainer", "be one command, since no shell is run", operator, cure)
        for wanted, why in (({"ids", "rows", "folder"}, "says what to train on"), ({"result", "out"}, "says where to write")):
            if not wanted & self.places:
                named = " or ".join(f"{{{one}}}" for one in sorted(wanted))
                raise invalid("trainer", f"hold {named}, which {why}", repr(self.call))

    def check_there(self) -> None:
        """Refuse a function, a program or a script that is not there."""
        if self.is_function:
            plugins.load(self.call)
        elif shutil.which(self.words[0]) is None:
            raise invalid("trainer", "begin with a program that is there", repr(self.words[0]))
        for word in () if self.is_function else self.words[1:]:
            if word.endswith((".py", ".sh")) and "{" not in word and not Path(word).exists():
                raise invalid("trainer", "name a script that is there", repr(word))

    @cached_property
    def environment(self) -> dict[str, str]:
        """What a result is made with: a digest of the files that the call names."""
        if self.is_function:
            function = inspect.unwrap(plugins.load(self.call))
            code = getattr(function, "__code__", None)  # a class or a partial has none
            words = [code.co_filename if code else inspect.getsourcefile(type(function)) or ""]
        else:  # the program too, if it is one's own and not one of the system
            words = self.words if "/" in self.words[0] else self.words[1:]
        return {"device": "", "script": store.json_digest([store.sha256(Path(one)) for one in words if Path(one).is_file()])[:16]}

    def command(self, values: Mapping[str, str]) -> list[str]:
        """Fill in the places, word by word, so that spaces and quotes stay within one; what `sh -c` is given, for a shell."""
        shells = Path(self.words[0]).name in SHELLS

        def filled(word: str, before: str) -> str:
            quote = shlex.quote if shells and before == "-c" else str
            return re.sub(r"\{(\w+)\}", lambda found: quote(values[found[1]]), word)

        return [filled(word, before) for before, word in zip(["", *self.words], self.words, strict=False)]
