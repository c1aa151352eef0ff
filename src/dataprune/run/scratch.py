"""How far is a clustering of large features, so that it can be gone on with?"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dataprune import store
from dataprune.errors import DatapruneError
from dataprune.kmeans import Clusters, Curve, Progress, Stage


@dataclass(frozen=True)
class Scratch:
    """A folder in which an interrupted clustering of large features is found again: the curve, the centres, the assignment.

    Made by `Scratch.of`, which empties a folder that belongs to other features or settings.
    """

    folder: Path

    @classmethod
    def of(cls, folder: Path, identity: Mapping[str, object]) -> "Scratch":
        """Take up the folder if it was made with the same identity, else begin it anew."""
        folder.mkdir(exist_ok=True)
        store.sweep(folder)
        try:
            same = store.read_json(folder / "identity.json") == identity
        except DatapruneError:
            same = False
        if not same:
            for old in folder.iterdir():
                if old.suffix in (".json", ".safetensors"):
                    old.unlink()
            store.write_json(folder / "identity.json", identity)
        return cls(folder)

    def curve(self) -> Curve | None:
        """Return the curve that was kept."""
        try:
            kept = store.read_sealed(self.folder / "curve.json")
        except DatapruneError:
            return None
        return Curve(np.array(kept["clusters"], np.int64), np.array(kept["inertia"], np.float64), kept["elbow"])

    def keep_curve(self, curve: Curve) -> None:
        """Keep a curve."""
        content = {"clusters": curve.clusters.tolist(), "inertia": curve.inertia.tolist(), "elbow": curve.elbow}
        store.write_sealed(self.folder / "curve.json", content)

    def load(self) -> Progress | None:
        """Return how far the fit is, as `kmeans.Keeper` asks."""
        found = self.arrays("fit")
        if found is None:
            return None
        arrays, info = found
        best = None
        if info["best"] is not None:
            best = Clusters(arrays["best_centres"], sizes=arrays["best_sizes"], **info["best"])
        return Progress(info["restart"], Stage(info["number"], arrays["centres"]), best)

    def save(self, progress: Progress) -> None:
        """Keep how far the fit is."""
        stage, best = progress.stage, progress.best
        arrays: dict[str, np.ndarray] = {"centres": stage.centres}
        info: dict[str, object] = {"restart": progress.restart, "number": stage.number, "best": None}
        if best is not None:
            arrays |= {"best_centres": best.centres, "best_sizes": best.sizes}
            info["best"] = {f.name: getattr(best, f.name) for f in dataclasses.fields(best) if f.name not in ("centres", "sizes")}
        self.keep("fit", arrays, info)

    def arrays(self, name: str) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
        """Return what was kept under a name, if it is whole."""
        path = self.folder / f"{name}.safetensors"
        try:
            if store.read_json(path.with_suffix(".json")) != {"sha256": store.sha256(path)}:
                return None
            found = store.open_arrays(path)
        except (DatapruneError, OSError):
            return None
        return {one: np.array(found[one]) for one in found.names}, found.info

    def keep(self, name: str, arrays: Mapping[str, np.ndarray], info: Mapping[str, object]) -> None:
        """Keep arrays under a name; the checksum comes last, and until it does they do not count."""
        path = self.folder / f"{name}.safetensors"
        store.save_arrays(path, arrays, info)
        store.write_json(path.with_suffix(".json"), {"sha256": store.sha256(path)})
