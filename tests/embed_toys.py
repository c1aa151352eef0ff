"""The smallest data and settings that features are learned from."""

import functools

import numpy as np

import dataprune as dp
from dataprune.data import Splits, read_splits
from dataprune.run.encoders import EmbedSettings
from dataprune.training.settings import SwavSettings

SERIAL = dp.Hardware(executor="serial")
SWAV = EmbedSettings(swav=SwavSettings(epochs=3, batch=32))
PIXELS = EmbedSettings("pixels", components=8)


@functools.cache
def some_digits():
    """Return the first 120 training digits and the first 60 test digits."""
    both = read_splits("digits")
    return Splits(both.train.take(np.arange(120)), None, both.test.take(np.arange(60)))
