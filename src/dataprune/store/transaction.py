"""Several files and folders that appear at once, or not at all."""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from dataprune.errors import InputError, MachineError, StoreError, invalid
from dataprune.store.files import read_json, room, sync, write_json
from dataprune.store.lock import lock

ASKED = "asked.json"
PROBE_BYTES = 2**15  # more than the lock and the note of what is asked take


def check_new(targets: Sequence[Path]) -> None:
    """Refuse places that are taken, before any work; not those that an interrupted call of `publish_together` has filled."""
    for number, target in enumerate(targets):
        if _names([target])[0] in _names(targets[:number]):
            raise invalid("targets", "be different", f"{target} twice")
    taken = _taken(targets)
    if taken and _begun(targets) is None:
        raise InputError(f"`{taken[0]}` already exists. Choose another name, or remove it.")


@contextmanager
def publish_together(targets: Sequence[Path], identity: str, needs_bytes: int | None = None) -> Iterator[dict[Path, Path]]:
    """Yield a place to build each of some new files or folders in; when the block ends well, all of them appear.

    When it does not, nothing is left. Whoever is killed leaves hidden folders; the same call then removes what was half built, and
    builds what has not appeared yet.

    Args:
        targets: where nothing is yet (else InputError); parents are made.
        identity: of what is built. Who was interrupted among the last steps goes on with the same only.
        needs_bytes: said when the disk is full.
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
            if taken and _begun(targets) != identity:
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
            if finished or not _taken(targets) or _begun(targets) is None:
                for scratch in reversed(scratches):  # while the first is there, what has appeared is known to be ours
                    shutil.rmtree(scratch, ignore_errors=True)


def _scratch(target: Path) -> Path:
    return target.parent / f".{os.fsencode(target.name)[:150].decode(errors='ignore')}.scratch"


def _names(targets: Sequence[Path]) -> list[str]:
    return [os.path.abspath(target) for target in targets]  # noqa: PTH100 a link at the end is not followed


def _taken(targets: Sequence[Path]) -> list[Path]:
    return [target for target in targets if os.path.lexists(target)]


def _begun(targets: Sequence[Path]) -> str | None:
    """Return the identity of what an interrupted call with the same targets was building."""
    with suppress(StoreError, KeyError, TypeError):
        asked = read_json(_scratch(targets[0]) / ASKED)
        if asked["targets"] == _names(targets):
            return str(asked["identity"])
    return None
