"""Named random streams: what is drawn depends on a seed and a name, never on what was drawn before."""

import hashlib
from collections.abc import Iterable

import numpy as np
from jaxtyping import UInt64


def _digest(seed: int, names: tuple[str | int, ...]) -> bytes:
    return hashlib.sha256(repr((int(seed), *names)).encode()).digest()


def generator(seed: int, *names: str | int) -> np.random.Generator:
    """Return the NumPy generator of the stream `(seed, *names)`, always from its beginning."""
    words = np.frombuffer(_digest(seed, names), dtype="<u4")
    return np.random.Generator(np.random.PCG64(words.astype(np.uint32)))


def torch_seed(seed: int, *names: str | int) -> int:
    """Return a seed in [0, 2**63) for a torch generator of the stream `(seed, *names)`."""
    return int.from_bytes(_digest(seed, names)[:8], "little") >> 1


def tie_break(ids: Iterable[str], seed: int) -> UInt64[np.ndarray, " examples"]:
    """Hash each id with the seed into 64 bits (BLAKE2b): an order that does not depend on the position of an example."""
    keyed = hashlib.blake2b(digest_size=8, key=repr(int(seed)).encode()[:64])
    hashes = bytearray()
    for name in ids:
        one = keyed.copy()
        one.update(name.encode("utf-8", "surrogatepass"))
        hashes += one.digest()
    return np.frombuffer(bytes(hashes), dtype="<u8").astype(np.uint64)
