"""Work that writes into a folder, killed right before its first file event, its second, and so on; after each kill done once more.

A file event is an opening for writing, a rename, a link, a copy or a removal of something in the folder. Every round is a fork of a
process that should have imported what the work needs.
"""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

EVENTS = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.symlink", "shutil.copyfile")


def rounds(code, folder, /, **names):
    """Run `code`, which defines `work()`, in a process of its own, and kill that everywhere.

    Args:
        code: Python; `work` gives an exit code.
        folder: emptied before each round.
        names: texts and lists that the code can use.

    Returns:
        For each round: how the first work ended (−9 where killed), what lay in the folder then, how the second ended and what lay
        there then. In the last round nothing was killed.
    """
    words = "".join(f"{name} = json.loads({json.dumps(value)!r})\n" for name, value in names.items())
    script = f"import json\nfrom kill_everywhere import main\n{words}{code}\nmain({str(folder)!r}, work)\n"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=Path(__file__).parent, capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def state(folder):
    """Return each file's hash, each link's aim, and each folder, by its name; hidden ones too."""
    return {path.relative_to(folder).as_posix(): _content(path) for path in sorted(Path(folder).rglob("*"))}


def _content(path):
    if path.is_symlink():
        return f"link to {path.readlink()}"
    return "folder" if path.is_dir() else hashlib.sha256(path.read_bytes()).hexdigest()


def main(name, work):
    """Print a line of JSON for each round."""
    folder = Path(name)
    for number in range(1, 10_000):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        ended = _in_child(lambda at=number: killed_at(at, folder, work)[0])
        after = state(folder)
        again = _in_child(work) if ended < 0 else ended
        sys.stdout.write(json.dumps([ended, after, again, state(folder)]) + "\n")
        sys.stdout.flush()
        if ended >= 0:
            return


def _in_child(work):
    child = os.fork()
    if child == 0:
        code = 99
        try:
            os.dup2(2, 1)  # what the work says is for nobody
            os.fsync = lambda _: None  # takes most of the time, and what a killed process has written is written
            code = work() or 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def killed_at(number, folder, work, later=0.0):
    """Do the work, and kill this process right before that file event in `folder`, or so many seconds later, amid what it writes.

    Returns:
        What the work gave, and how many events there were.
    """
    seen = 0

    def watch(event, arguments):
        nonlocal seen
        if event in EVENTS and _concerns(event, arguments, folder):
            seen += 1
            if seen == number:
                _die(later)

    sys.addaudithook(watch)
    return work(), seen


def _die(later):
    if later:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)  # ends it without a chance to tidy up, as SIGKILL does
        signal.setitimer(signal.ITIMER_REAL, later)
    else:
        os.kill(os.getpid(), signal.SIGKILL)


def _concerns(event, arguments, folder):
    if event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR):
        return False
    if event in ("os.remove", "os.rmdir") and arguments[1] != -1:  # within a folder that is being removed
        return True
    return any(isinstance(one, (str, bytes, Path)) and os.fsdecode(one).startswith(str(folder)) for one in arguments[:2])
