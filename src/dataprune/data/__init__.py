"""Data sets, and readers that turn any source into one: `read` gives a `Dataset`, `read_splits` all its splits."""

from dataprune.data.arrays import from_arrays, from_torch
from dataprune.data.dataset import Dataset, EncoderRecord, Origin, Records, Skipped, Splits
from dataprune.data.features import FeatureFile, read_features
from dataprune.data.reading import from_huggingface, read, read_splits
