"""What a training is judged by: a name, which way is better and a range; its values as shares for the statistics, and in words."""

import math
import re
import sys
from dataclasses import dataclass

import numpy as np

from dataprune.errors import InputError, invalid

SLACK = 4.0  # an open end of a range is put this many times as far away as the values reach: intervals end nowhere near it
_COLUMNS = (
    "trial score strategy keep start seed epochs steps flops device status error arm order clusters low high verdict correct",
    "seconds ids_seen examples_seen test_accuracy validation_accuracy n_train n_test n_seeds train_seconds",
)
_DIFFERENCES = (f"minus_{control}{end}" for control in ("random", "all", "arm") for end in ("", "_low", "_high"))
TAKEN = {*" ".join(_COLUMNS).split(), *_DIFFERENCES}


@dataclass(frozen=True)
class Metric:
    """A number that says how good a training is.

    Attributes:
        higher: whether more is better.
        low, high: the range it cannot leave; infinite where there is no end.
    """

    name: str = "accuracy"
    higher: bool = True
    low: float = 0.0
    high: float = 1.0

    @classmethod
    def of(cls, text: str) -> "Metric":
        """Read NAME:higher or NAME:lower, with :LOW:HIGH where it has a range; accuracy needs no more than its name.

        Example:
            >>> Metric.of("loss:lower:0:inf")
            Metric(name='loss', higher=False, low=0.0, high=inf)
        """
        name, *words = text.split(":")
        if text == "accuracy":
            return cls()
        try:
            low, high = map(float, words[1:]) if words[1:] else (-math.inf, math.inf)
        except ValueError:
            low = high = math.nan
        cure = "For example f1:higher:0:1, or loss:lower."
        if words[:1] not in (["higher"], ["lower"]) or not low < high or not re.fullmatch(r"[\w@/.-]+", name):
            raise invalid("metric", "read NAME:higher or NAME:lower, or with its range NAME:lower:LOW:HIGH", repr(text), cure)
        if name in TAKEN:
            raise invalid("metric", "have a name that no column of a study's tables has", repr(name))
        made = cls(name, words[0] == "higher", low, high)
        if name == "accuracy" and made != cls():
            raise invalid("metric", "have another name if it is not a share where more is better", repr(text), cure)
        return made

    @property
    def column(self) -> str:
        """Where `trials.parquet` has it."""
        return "test_accuracy" if self.name == "accuracy" else self.name

    @property
    def is_share(self) -> bool:
        """Whether it is shown in percent."""
        return (self.low, self.high) == (0.0, 1.0)

    @property
    def times(self) -> int:
        """By what values are multiplied where they are drawn."""
        return 100 if self.is_share else 1

    @property
    def axis(self) -> str:
        """The heading of its values.

        Example:
            >>> Metric().axis, Metric.of("loss:lower").axis
            ('accuracy, %', 'loss (less is better)')
        """
        return self.name + (", %" if self.is_share else "") + ("" if self.higher else " (less is better)")

    def text(self, value: float, digits: int = 2) -> str:
        """Write a value, or a difference, without its unit; a dash for what is not known.

        Example:
            >>> Metric().text(0.93126), Metric.of("loss:lower").text(0.93126)
            ('93.13', '0.9313')
        """
        return "-" if math.isnan(value) else f"{100 * value:.{digits}f}" if self.is_share else f"{value:.4g}"

    def span(self, low: float, high: float) -> str:
        """Write an interval."""
        return "-" if math.isnan(low) else f"{self.text(low)} ... {self.text(high)}"

    def check(self, value: object) -> float:
        """Return a value that a training gave; InputError if it is no number of the range."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= sys.float_info.max:
            raise InputError(f"its {self.name} must be a finite number, got {value!r}")
        if not self.low <= value <= self.high:
            raise InputError(f"its {self.name} must lie in {self.low:g} ... {self.high:g}, got {value:g}")
        return float(value)

    def scale(self, values: np.ndarray) -> tuple[float, float]:
        """Return (a, b) by which (value − a) / b lies in [0, 1], more being better: by the range, where it is open by values."""
        found = np.asarray(values, np.float64)
        found = found[np.isfinite(found)]
        least, most = (float(found.min()), float(found.max())) if len(found) else (0.0, 1.0)
        has_low, has_high = math.isfinite(self.low), math.isfinite(self.high)
        bottom, top = self.low if has_low else least, self.high if has_high else most
        span = SLACK * (top - bottom) or 1.0
        low = self.low if has_low else (top if has_high else bottom) - span
        high = self.high if has_high else (bottom if has_low else top) + span
        return (low, high - low) if self.higher else (high, low - high)


ACCURACY = Metric()


@dataclass(frozen=True)
class Amount:
    """A difference of a metric, or a span of them, in words: as `+1`, with its sign and to one decimal; `+1b` bare of its unit.

    Example:
        >>> f"{Amount(-0.0123):+1}, {Amount(0.01):g}, {Amount(0.001, to=0.002)}, {Amount(0.2, Metric.of('loss:lower')):+1}"
        '-1.2 points, 1 point, 0.10 ... 0.20 points, +0.2 of loss'
    """

    value: float
    metric: Metric = ACCURACY
    to: float = math.nan

    def __format__(self, spec: str) -> str:
        number = self.metric.text(abs(self.value), int(spec.strip("+gb") or 2))
        number = f"{round(100 * self.value, 1):g}" if "g" in spec and self.metric.is_share else number
        sign = "" if not float(number.replace("-", "") or 0) else "-" if self.value < 0 else "+" if "+" in spec else ""
        end = "" if math.isnan(self.to) or self.metric.text(self.to) == number else f" ... {self.metric.text(self.to)}"
        unit = f"of {self.metric.name}" if not self.metric.is_share else "point" if number == "1" else "points"
        return f"{sign}{number}{end}" + ("" if "b" in spec else f" {unit}")
