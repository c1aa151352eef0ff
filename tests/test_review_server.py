"""A review as a server: who may ask, what is saved when, and what a moved, read-only or busy run does."""

import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

import numpy as np
import pytest

import dataprune as dp
import review_toys
from dataprune.errors import InputError, MachineError
from dataprune.report.page.data import gather
from dataprune.review.book import Book, Change
from dataprune.review.table import Query
from dataprune.run.journal import JOURNAL, TABLE, Journal
from review_toys import CLASSES, pictures, recorded, vectors

pytest.importorskip("dataprune.review.server", reason="starlette and uvicorn are not installed")
WRONG = (4, 10, 17)
TOKEN = "the-key"


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return pictures(tmp_path_factory.mktemp("review") / "toys")


@pytest.fixture
def run(source, tmp_path):
    return recorded(dp.read(source), tmp_path / "run", WRONG)


@pytest.fixture
def book(run):
    return Book(run, gather(run))


@contextmanager
def served(book):
    """Serve a review in a thread; yield a function that asks it."""
    with review_toys.served(book, TOKEN) as port:
        yield lambda *args, **options: ask(port, *args, **options)


def ask(port, path, body=None, *, key=TOKEN, host=None, origin="own"):
    """Ask as the page's own script does; return the status, the headers and the body, JSON as such."""
    headers = {"Host": host or f"127.0.0.1:{port}", "Cookie": f"dataprune-{port}={key}"}
    if body is not None and origin:
        headers["Origin"] = f"http://127.0.0.1:{port}" if origin == "own" else origin
    content = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request("GET" if body is None else "POST", path, content, headers)
        with connection.getresponse() as answer:
            text, about = answer.read(), answer.headers
            return answer.status, about, json.loads(text) if about["content-type"] == "application/json" else text


DROP = {"decision": "drop", "rows": [1], "known": 0}


def test_only_its_own_page_is_answered(book):
    with served(book) as asked:
        assert asked("/state", key="another")[0] == 403
        assert asked("/state?token=the-key", key="")[0] == 403, "the key counts for the first page alone"
        assert asked("/state", host="evil.example")[0] == 403
        assert asked("/decide", DROP, origin="http://evil.example")[0] == 403
        assert asked("/decide", DROP, origin=None)[0] == 403
        assert asked("/decide", DROP, key="")[0] == 403
        assert not (book.run.path / JOURNAL).exists()
        status, headers, page = asked(f"/?token={TOKEN}", key="")
        assert status == 200
        assert "HttpOnly" in headers["set-cookie"]
        assert "SameSite=strict" in headers["set-cookie"]
        assert "default-src 'none'" in headers["content-security-policy"]
        assert TOKEN.encode() not in page
        assert asked("/decide", DROP)[0] == 200
        assert asked("/decide", b"x" * (2**20 + 1))[0] == 400
        for bad in (b"[", b"{}", {**DROP, "rows": [99]}, {**DROP, "decision": "burn"}, {**DROP, "decision": "relabel", "label": 7}):
            assert asked("/decide", bad)[0] == 400
        assert asked("/picture?e=-1")[0] == asked("/picture?e=99")[0] == asked("/decide", {"undoes": 5, "known": 0})[0] == 400


def test_what_the_table_says_is_served(book):
    with served(book) as asked:
        state = asked("/state")[2]
        assert state["n"] == 34
        assert state["splits"] == ["train", "test"]
        assert state["n_groups"] == 1
        found = asked("/query", {"sort": "rank", "descending": False})[2]
        assert {one["e"] for one in found["rows"][:3]} == set(WRONG)
        assert asked(f"/rows?key={found['key']}&start=30")[2] == found["rows"][30:]
        assert asked("/rows?key=old&start=0")[0] == 410
        assert [one["split"] for one in asked("/query", {"leaks": True})[2]["rows"]] == ["train", "test"]
        one = asked("/example?e=4")[2]
        assert one["to"] == (one["label"] + 1) % 3
        assert sorted(len(member["curve"]) for member in one["members"]) == [4, 4]
        assert [member["saw"] for member in one["members"]].count(True) == 1
        thumbnail, whole = (asked(f"/picture?e=4{more}")[2] for more in ("&side=112", ""))
        assert thumbnail[8:12] == whole[8:12] == b"WEBP"
        assert sum(map(sum, asked("/plot?name=confusion")[2]["counts"])) == 30
        assert "<svg" in asked("/plot?name=el2n")[2]["svg"]
        assert asked("/plot?name=vectors")[0] == 400
        with ThreadPoolExecutor(4) as pool:  # a person opens several at once
            drawn = list(pool.map(lambda name: asked(f"/plot?name={name}")[2]["svg"], ["el2n", "map", "aum", "el2n"]))
        assert drawn[0] == drawn[3] == asked("/plot?name=el2n")[2]["svg"]
        assert asked("/audit?size=12")[2] == {"rows": dp.audit(book.data.suspects, 12).rows.tolist(), "open": 0}


def test_decisions_are_saved_at_once_and_windows_do_not_overwrite_each_other(book):
    def change(*rows, decision="drop", known=0, **more):
        return book.decide(Change(known, decision, rows, **more))

    first = change(4, 33)
    assert first["count"] == 1
    assert {key: one.decision for key, one in Journal(book.run.path).state.items()} == {
        ("train", book.data.id_of(4)): "drop",
        ("test", book.data.id_of(33)): "drop",
    }
    other = change(4, 5, decision="keep")
    assert (other["conflicts"], other["n_changed"]) == ([4], 3), "the window learns what the other one decided"
    assert book.table.count_decisions() == {"keep": 1, "drop": 2, "relabel": 0}
    everything = book.decide(Change(other["count"], "relabel", query=Query(ranges={"suspicion": (0.5, None)})))
    assert everything["n_conflicts"] == 0
    flagged = book.table.query(Query(decision="relabel"))
    assert flagged.tolist() == sorted(WRONG)
    assert book.table.new_label[flagged].tolist() == ((book.table.label[flagged] + 1) % 3).tolist()
    back = book.decide(Change(everything["count"], undoes=everything["entry"]))
    assert back["decided"] == {"keep": 1, "drop": 2, "relabel": 0}
    assert back["undoable"] == [other["entry"]]
    bulk = change(4, 5, 6, 7, decision="keep", known=back["count"], leaves=True)
    assert (bulk["n_own"], bulk["n_left"]) == (2, 2), "what a person decided one by one is left"
    assert book.table.count_decisions() == {"keep": 3, "drop": 2, "relabel": 0}
    again = Book(book.run, book.data)
    assert again.table.decision.tolist() == book.table.decision.tolist()
    book.close()
    assert (book.run.path / TABLE).is_file()


def test_decisions_of_elsewhere_and_of_nobody(book):
    words, labels = {1: "drop", 2: "relabel", 3: ""}, np.zeros(30, np.int64)
    assert book.take_in(words, labels) == 2
    assert book.take_in(words, labels) == 0
    assert book.table.count_decisions() == {"keep": 0, "drop": 1, "relabel": 1}
    journal = Journal(book.run.path)
    journal.decide({("train", "<script>"): ("drop", "")}, journal.count)
    assert any("1 examples that are not in the run" in note for note in Book(book.run, book.data).notes)


def test_a_picture_that_is_gone_loses_no_other(tmp_path):
    folder = pictures(tmp_path / "toys")
    run = recorded(dp.read(folder), tmp_path / "run")
    whole = Book(run, gather(run))
    (folder / "train" / "cat" / "012.png").unlink()
    with pytest.raises(InputError, match=r"012\.png"):
        whole.picture(4, None)
    left = Book(run, gather(run))
    assert any("1 picture gone" in note for note in left.notes)
    assert left.picture(5, 112)[8:12] == left.picture(5, None)[8:12] == b"WEBP"
    with pytest.raises(InputError, match=r"012\.png"):
        left.picture(4, 112)


def test_read_only_is_shown_and_saves_nothing(run):
    book = Book(run, gather(run), read_only="no space left.")
    assert book.state["read_only"]
    assert "nothing is saved" in book.state["notes"][0]
    with pytest.raises(MachineError, match="nothing is saved"):
        book.decide(Change(0, "drop", (1,)))
    assert not (run.path / JOURNAL).exists()


def test_vectors_have_neighbours_and_texts_no_picture(tmp_path):
    data = vectors(40)
    run = recorded(data, tmp_path / "run")
    book = Book(run, gather(run, data))
    near = [one["e"] for one in book.example(3)["near"]]
    far = ((data.features - data.features[3]) ** 2).sum(axis=1)
    assert near == [row for row in np.argsort(far, kind="stable").tolist() if row != 3][: len(near)]
    with pytest.raises(InputError, match="not there"):
        book.picture(3, 112)
    assert book.plot("vectors")["x"] == "x"
    assert len(book.table.query(Query(ranges={"x": (None, None)}))) == 40
    assert book.state["classes"] == list(CLASSES)


@pytest.fixture
def started(run):
    """Start the command; yield the process and its port and key."""
    command = [sys.executable, "-m", "dataprune", "review", str(run.path), "--no-browser"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    lines = iter(process.stdout.readline, "")
    found = next((found for line in lines if (found := re.search(r":(\d+)/\?token=(\S+)", line))), None)
    assert found is not None, process.stderr.read()
    yield process, int(found[1]), found[2]
    process.kill()
    process.communicate()


def test_the_command_survives_a_kill_and_lets_no_second_in(run, started, cli):
    process, port, key = started
    code, _, err = cli("review", run.path, "--no-browser")
    assert code == 2
    assert f"process {process.pid}" in err
    assert ask(port, "/decide", DROP, key=key)[0] == 200
    begun = time.perf_counter()
    assert ask(port, "/decide", {**DROP, "rows": [2], "known": 1}, key=key)[0] == 200
    assert time.perf_counter() - begun < 5
    process.kill()
    process.wait()
    assert Journal(run.path).count == 2
    code, out, _ = cli("noise", "apply", run.path)
    assert code == 0
    assert "2 dropped" in out


@pytest.mark.long
def test_ctrl_c_ends_it_well(run, started):
    process, port, key = started
    assert ask(port, "/decide", DROP, key=key)[0] == 200
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert "1 drop" in out
    assert (run.path / TABLE).is_file()


def test_a_port_in_use_is_one_line(run, cli):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, _, err = cli("review", run.path, "--no-browser", "--port", taken.getsockname()[1])
    assert code == 2
    assert "port" in err
    assert len(err.splitlines()) == 1
