"""What lies around the program: a clock that goes back, no network, no home. The main path works all the same, to the bit."""

import importlib
import socket
import time
from datetime import UTC, datetime, timedelta

import pytest

from command_line import SETTINGS, complaints, run_cli

FILES = ("scores.parquet", "trace/member-000.safetensors", "trace/member-001.safetensors")
WORK = [*SETTINGS, "--executor", "serial", "--quiet"]


def contents(run):
    return [(run / name).read_bytes() for name in FILES]


def test_a_clock_that_goes_back_changes_no_result(cli, flowers, run_folder, tmp_path, monkeypatch):
    """Each look at the clock is an hour before the last, also between an interruption and going on."""
    looked = []

    def back(_=None):
        looked.append(1)
        return datetime(2020, 1, 1, tzinfo=UTC).timestamp() - 3600 * len(looked)

    class Clock(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.fromtimestamp(back(), tz)

    monkeypatch.setattr(time, "time", back)
    for name in ("dataprune.run.manifest", "dataprune.store.files"):
        monkeypatch.setattr(importlib.import_module(name), "datetime", Clock)
    assert cli("score", flowers, "--out", tmp_path / "run", *WORK)[0] == 0
    (tmp_path / "run" / "run.json").unlink()
    assert cli("score", flowers, "--out", tmp_path / "run", *WORK)[0] == 0
    assert looked, "the clock was looked at"
    assert contents(tmp_path / "run") == contents(run_folder)
    assert cli("verify", tmp_path / "run")[0] == 0


@pytest.mark.usefixtures("undrawn")
def test_nothing_asks_a_network(cli, flowers, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError("no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    with pytest.raises(OSError, match="no network"):
        socket.create_connection(("localhost", 9), timeout=1)
    run = tmp_path / "run"
    assert cli("score", flowers, "--out", run, *WORK)[0] == 0
    assert cli("prune", run, "--keep", "0.5", "--out", tmp_path / "kept.csv")[0] == 0
    assert cli("report", run, "--out", tmp_path / "page.html")[0] == 0


@pytest.mark.long
def test_without_home_language_and_width(flowers, run_folder, tmp_path):
    """With hardly a variable set, as under cron or in a container."""
    bare = {"PATH": "/usr/bin:/bin", "TMPDIR": str(tmp_path), "DATAPRUNE_CACHE": str(tmp_path / "cache")}
    done = run_cli("score", flowers, "--out", tmp_path / "run", *WORK, env=bare)
    assert (done.returncode, complaints(done.stderr)) == (0, [])
    assert contents(tmp_path / "run") == contents(run_folder)
    assert datetime.now(UTC) - datetime.fromtimestamp((tmp_path / "run/run.json").stat().st_mtime, UTC) < timedelta(minutes=5)
