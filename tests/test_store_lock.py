"""One process at a time in a folder: who holds it, waiting for it, a holder that was killed."""

import os
import socket
import subprocess
import sys
import threading
import time

import pytest

from dataprune import store
from dataprune.errors import InputError


class TestLock:
    def test_the_second_says_who_holds_it(self, tmp_path):
        with store.lock(tmp_path / "out"):
            holder = rf"process {os.getpid()} on {socket.gethostname()} since \d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d.*"
            with (
                pytest.raises(InputError, match=rf"out` is in use by {holder}; wait for it or pass --wait\."),
                store.lock(tmp_path / "out"),
            ):
                pass
            (tmp_path / "out" / ".lock-holder.json").write_text("{}")
            with pytest.raises(InputError, match="is in use by another process;"), store.lock(tmp_path / "out"):
                pass
        with store.lock(tmp_path / "out"):
            pass
        assert not (tmp_path / "out" / ".lock-holder.json").exists()

    def test_it_is_let_go_after_an_error(self, tmp_path):
        with pytest.raises(ValueError, match="x"), store.lock(tmp_path):
            raise ValueError("x")
        with store.lock(tmp_path):
            pass

    def test_waiting(self, tmp_path):
        order = []

        def second():
            with store.lock(tmp_path, wait=True):
                order.append("second")

        thread = threading.Thread(target=second)
        with store.lock(tmp_path):
            thread.start()
            time.sleep(0.2)
            order.append("first")
        thread.join(timeout=10)
        assert order == ["first", "second"]

    def test_the_kernel_lets_go_of_a_killed_holder(self, tmp_path):
        script = (
            "import sys, time; from pathlib import Path; from dataprune import store\n"
            "with store.lock(Path(sys.argv[1])):\n"
            "    print('held', flush=True); time.sleep(60)\n"
        )
        with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"held\n"
            with pytest.raises(InputError, match=f"is in use by process {holder.pid} on "), store.lock(tmp_path):
                pass
            holder.kill()
            holder.wait()
        assert (tmp_path / ".lock-holder.json").exists()
        with store.lock(tmp_path):
            assert store.read_json(tmp_path / ".lock-holder.json")["pid"] == os.getpid()
