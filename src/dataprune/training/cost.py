"""What work costs, in three currencies, and how its seconds are foreseen: by a few steps on this machine."""

import time
from collections.abc import Callable
from dataclasses import dataclass

MEASURES = ("seconds", "examples_seen", "flops")
UNTIMED_FLOPS = 5e11  # about ten seconds of one core: shorter work is not worth timing first


@dataclass(frozen=True)
class Cost:
    """A cost in three currencies; NaN where it is not known.

    Attributes:
        seconds: of one process's work, added up over processes, where work is done; of the clock, where it is foreseen.
        examples_seen: through the network in training, each time counted.
        flops: floating-point operations. The one to compare by where the scoring network is another than the trained one.
    """

    seconds: float
    examples_seen: float
    flops: float

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.seconds + other.seconds, self.examples_seen + other.examples_seen, self.flops + other.flops)

    def __getitem__(self, measure: str) -> float:
        return float(getattr(self, measure))


def seconds_of(step: Callable[[], object]) -> float:
    """Do a step twice and time the second: the first one pays for what is set up once."""
    step()
    begun = time.perf_counter()
    step()
    return time.perf_counter() - begun
