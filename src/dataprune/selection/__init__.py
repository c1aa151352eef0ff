"""Which examples are kept: a score, a budget and a strategy give a kept set of exactly the asked size."""

from dataprune.selection.dynamic import Dynamic, DynamicSampler
from dataprune.selection.group import Group, Strategy, Views
from dataprune.selection.select import select
from dataprune.selection.selection import Selection
from dataprune.selection.strategies import STRATEGIES
