"""Eyes: frozen functions from pictures (later texts and rows of tables) to vectors, by name; vectors are made once and cached."""

from dataprune.encoders.encoder import choose
from dataprune.encoders.vectors import Encoding, encode, encode_splits
