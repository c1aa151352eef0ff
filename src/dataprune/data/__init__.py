"""Data sets, and readers that turn any source into one: `read` gives a `Dataset`, `read_splits` all its splits."""

from dataprune.data.arrays import from_arrays
from dataprune.data.dataset import Dataset, EncoderRecord, Origin, Skipped, Splits
from dataprune.data.features import FeatureFile, read_features
from dataprune.data.objects import from_torch
from dataprune.data.reading import from_huggingface, read, read_splits
from dataprune.data.records import Records

__all__ = [
    "Dataset",
    "EncoderRecord",
    "FeatureFile",
    "Origin",
    "Records",
    "Skipped",
    "Splits",
    "from_arrays",
    "from_huggingface",
    "from_torch",
    "read",
    "read_features",
    "read_splits",
]
