"""Outputs: the one protocol of long work (claim, lock, work in a hidden folder, results, manifest last, clean); and several
files and folders that appear at once, or not at all."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataprune.errors import DatapruneError, InputError, MachineError, StoreError, invalid, join_some
from dataprune.store.arrays import canonical_json
from dataprune.store.files import check_writable, lock, read_json, room, sweep, sync, write_json
from dataprune.store.manifest import beside, is_whole, read_manifest, read_sealed, write_sealed

SCRATCH = "scratch"
ASKED = "asked.json"
PROBE_BYTES = 2**15  # more than the lock and the note of what is asked take
LONGEST = 80  # letters of a value in a message
FINGERPRINT = 64  # letters; the first 12 tell enough


@dataclass(frozen=True)
class WorkFolder:
    """An output of long work: a folder (`in_folder`), or a file with its manifest beside it (`beside_file`).

        work = WorkFolder.beside_file(out, "features")
        work.check()                                        # refuse what could not be written, before anything is read for it
        with work.work({"data": fingerprint}, wait=wait) as finished:
            if not finished:
                ...                                         # checkpoints in work.scratch; results by `store.writing`
                write_manifest(work.manifest.parent, work.manifest.name, {"asked": identity, ...}, files)

    The identity says what makes two outputs the same. Another one at the same place is refused with the difference. Killed at
    whatever moment, the same call goes on: the claim lies on disk before the work begins, results are files that are replaced as
    a whole, and the manifest, which comes last, alone says that the work is finished. An output that is whole is recognised
    without a lock. One writer at a time: others are refused, or wait. What killed writers left is swept.
    """

    output: Path
    what: str  # for messages: "a run", "features"
    manifest: Path  # written by the block, last; under `key` it says the identity, in place of a claim that is gone or damaged
    claimed: Path  # says what is being made
    scratch: Path  # survives a kill, and goes once the block has ended well; of a file hidden beside it, with the claim in it
    key: str

    @classmethod
    def in_folder(cls, folder: Path, what: str, *, claim: str, manifest: str) -> "WorkFolder":
        return cls(folder, what, folder / manifest, folder / claim, folder / SCRATCH, "spec")

    @classmethod
    def beside_file(cls, file: Path, what: str, *, manifest: Path | None = None, key: str = "asked") -> "WorkFolder":
        """Describe an output that is a file; its manifest is `<name>.json` unless said."""
        scratch = file.with_name(f".{file.name}.scratch")
        return cls(file, what, manifest or beside(file), scratch / ASKED, scratch, key)

    @property
    def is_folder(self) -> bool:
        return self.claimed.parent == self.output

    def check(self) -> None:
        """Refuse an output that could not be written, or that is something else, before any work."""
        is_ours = self.claimed.exists() or self.manifest.exists()
        if self.is_folder:
            if os.path.lexists(self.output) and not self.output.is_dir():
                raise invalid("out", "be a folder", f"{self.output}, which is a file")
            there = [] if is_ours or not self.output.is_dir() else sorted(one.name for one in self.output.iterdir())
            if others := [name for name in there if not name.startswith(".")]:
                got = f"{self.output}, which holds {join_some(others, most=3)}"
                raise invalid("out", f"be a new folder or {self.what}", got, "Choose another.")
            check_writable(next(one for one in (self.output, *self.output.absolute().parents) if one.is_dir()))
            return
        for path in (self.output, self.manifest):
            if path.is_dir():
                raise invalid("out", "be a file", f"{path}, which is a folder")
        if self.output.exists():
            if not is_ours:
                raise InputError(f"`out` {self.output} is there already and was not made by this command. Choose another file.")
            return
        if self.manifest.exists() and self._said() is None:
            name = self.manifest.name
            raise InputError(f"`out` {self.output} needs {name} beside it, which is of another kind. Choose another file.")
        check_writable(self.output.parent)

    def begun(self) -> dict[str, Any] | None:
        """Return the identity of what is there, finished or not; None where there is nothing that says one."""
        with suppress(DatapruneError):
            return self._said() or self._present()
        return None

    @contextmanager
    def work(
        self, identity: Mapping[str, Any], *, also: Mapping[str, Any] | None = None, wait: bool = False, grows: Sequence[str] = ()
    ) -> Iterator[bool]:
        """Claim the output, and yield under its lock whether it is finished: there, whole and of this identity (plain JSON). See
        the class.

        What `also` is in the claim may differ; of the numbers that are named in `grows` larger ones are made on, and the output
        stays whole meanwhile. Where the block raises before anything is left in the scratch folder of a file, that folder goes: it
        binds nobody. Another identity, other things, or another process (without `wait`) are an InputError; what does not say what
        it is a StoreError.
        """
        wanted, also = json.loads(canonical_json(identity)), also or {}
        if self._is_finished(wanted):
            if self.is_folder or self.scratch.is_dir():
                # What one who was killed right after the manifest left, unless somebody is at it.
                with suppress(DatapruneError), lock(self.claimed.parent):
                    sweep(self.claimed.parent)
                    shutil.rmtree(self.scratch, ignore_errors=True)
            yield True
            return
        self.check()
        with lock(self.claimed.parent, wait=wait, name=self.output):
            finished = self._is_finished(wanted)  # by somebody who was waited for
            present = self._present()
            if present is None:
                write_sealed(self.claimed, {**wanted, **also})
            else:
                self._compare({name: value for name, value in present.items() if name not in also}, wanted, grows)
            sweep(self.claimed.parent)
            self.scratch.mkdir(exist_ok=True)
            try:
                yield finished
            except DatapruneError:
                left = (one for one in self.scratch.rglob("*") if one.is_file() and not one.name.startswith("."))
                if not self.is_folder and not self.output.exists() and all(one == self.claimed for one in left):
                    shutil.rmtree(self.scratch, ignore_errors=True)
                raise
            shutil.rmtree(self.scratch, ignore_errors=True)

    def renew(self, identity: Mapping[str, Any]) -> None:
        """Write the claim anew, where the identity has grown. The manifest of before goes first: it is of the old one."""
        self.manifest.unlink(missing_ok=True)
        write_sealed(self.claimed, identity)

    def _compare(self, present: dict[str, Any], wanted: dict[str, Any], grows: Sequence[str]) -> None:
        present = present | {name: wanted[name] for name in grows if present.get(name, wanted[name]) < wanted[name]}
        if differing := _differences(present, wanted):
            cure = "Choose another folder" if self.is_folder else "Choose another file"
            if not self.is_folder and not self.output.exists():
                cure += f", or remove {self.scratch}"
            raise InputError(f"`out` {self.output} holds {self.what} of other settings: {'; '.join(differing)}. {cure}.")

    def _present(self) -> dict[str, Any] | None:
        """Read what the output is: from the claim, else from the manifest; None where there is neither."""
        cure = "Choose another folder, or remove this one." if self.is_folder else "Choose another file."
        try:
            return read_sealed(self.claimed)
        except StoreError as error:
            said = self._said()
            if said is not None:
                return said
            if self.claimed.exists() and self.is_folder:
                raise StoreError(f"{str(error).rstrip('.')}. {cure}") from error
        if self.manifest.exists() and not self.claimed.exists():
            try:
                read_manifest(self.manifest.parent, self.manifest.name, dict)
            except StoreError as error:
                raise StoreError(f"{error} {cure}") from error
            raise InputError(f"`out` {self.output} has {self.manifest.name}, which is of another kind. {cure}")
        return None

    def _said(self) -> dict[str, Any] | None:
        try:
            said = read_manifest(self.manifest.parent, self.manifest.name, dict).get(self.key)
        except (StoreError, InputError):
            return None
        return said if isinstance(said, dict) else None

    def _is_finished(self, wanted: dict[str, Any]) -> bool:
        return self._said() == wanted and is_whole(self.manifest.parent, self.manifest.name)


def _differences(present: Mapping[str, Any], wanted: Mapping[str, Any], within: str = "") -> list[str]:
    """Return what differs between two identities, one entry a value; what only one of them says counts if nothing else differs.

    Example:
        >>> _differences({"seed": 0, "recipe": {"batch": 128}}, {"seed": 1, "recipe": {"batch": 64}})
        ['recipe.batch 128 there, 64 asked', 'seed 0 there, 1 asked']
    """
    found, shared = [], present.keys() & wanted.keys()
    differing = {key for key in shared if present[key] != wanted[key]}
    for key in sorted(differing or present.keys() ^ wanted.keys()):
        old, new = present.get(key), wanted.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            found += _differences(old, new, f"{within}{key}.")
        else:
            shown = [text[: 12 if len(text) == FINGERPRINT else LONGEST] for text in (str(old), str(new))]
            found.append(f"{within}{key} {shown[0]} there, {shown[1]} asked")
    return found


def check_new(targets: Sequence[Path]) -> None:
    """Refuse places that are taken, before any work; not those that an interrupted call of `publish_together` has filled."""
    for number, target in enumerate(targets):
        if _names([target])[0] in _names(targets[:number]):
            raise invalid("targets", "be different", f"{target} twice")
    taken = _taken(targets)
    if taken and begun(targets) is None:
        raise InputError(f"`{taken[0]}` already exists. Choose another name, or remove it.")


@contextmanager
def publish_together(targets: Sequence[Path], identity: str, needs_bytes: int | None = None) -> Iterator[dict[Path, Path]]:
    """Yield a place to build each of some new files or folders in; when the block ends well, all of them appear, else none.

    Nothing may be at the `targets` yet (else InputError); parents are made. Whoever is killed leaves hidden folders; the same call
    then removes what was half built, and builds what has not appeared yet; who was interrupted in the last steps goes on with the
    same `identity` only.
    """
    check_new(targets)
    scratches = list(dict.fromkeys(_scratch(target) for target in targets))
    with room(targets[0].parent, needs_bytes), ExitStack() as stack:
        was_there = scratches[0].is_dir()
        try:
            scratches[0].mkdir(parents=True, exist_ok=True)
            (scratches[0] / "probe").write_bytes(bytes(PROBE_BYTES))
            (scratches[0] / "probe").unlink()
            stack.enter_context(lock(scratches[0], cure="wait for it, or choose another name."))
        except (OSError, MachineError):
            if not was_there:
                shutil.rmtree(scratches[0], ignore_errors=True)
            raise
        finished = False
        try:
            check_new(targets)  # somebody may have been quicker
            taken = _taken(targets)
            if taken and begun(targets) != identity:
                raise InputError(f"`{taken[0]}` is of an interrupted command that wrote other things. Remove it first.")
            write_json(scratches[0] / ASKED, {"targets": _names(targets), "identity": identity})
            built = {target: _scratch(target) / target.name for target in targets if target not in taken}
            for place in built.values():
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.rmtree(place) if place.is_dir() and not place.is_symlink() else place.unlink(missing_ok=True)
            yield built
            for target, place in built.items():
                if place.is_file():
                    sync(place)
                place.replace(target)
                sync(target.parent)
            finished = True
        finally:
            if finished or not _taken(targets) or begun(targets) is None:
                for scratch in reversed(scratches):  # while the first is there, what has appeared is known to be ours
                    shutil.rmtree(scratch, ignore_errors=True)


def _scratch(target: Path) -> Path:
    return target.parent / f".{os.fsencode(target.name)[:150].decode(errors='ignore')}.scratch"


def _names(targets: Sequence[Path]) -> list[str]:
    return [os.path.abspath(target) for target in targets]  # noqa: PTH100 a link at the end is not followed


def _taken(targets: Sequence[Path]) -> list[Path]:
    return [target for target in targets if os.path.lexists(target)]


def begun(targets: Sequence[Path]) -> str | None:
    """Return the identity of what an interrupted call with the same targets was building."""
    with suppress(StoreError, KeyError, TypeError):
        asked = read_json(_scratch(targets[0]) / ASKED)
        if asked["targets"] == _names(targets):
            return str(asked["identity"])
    return None
