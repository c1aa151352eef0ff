"""Ray alone: two nodes on this machine, one of them killed in the middle; clusters that are joined; data that no other node sees.

Most of it under the marker `ray`; what is said where Ray is missing or asked for wrongly is tested by default.
"""

import contextlib
import logging
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import cloudpickle
import numpy as np
import pytest

import worker_kit
from command_line import complaints
from dataprune.data import read_features
from dataprune.errors import InputError, MachineError
from dataprune.run.score import score
from dataprune.study.conditions import StudyInputs
from dataprune.tables import read_table
from dataprune.training.settings import Hardware
from dataprune.workers import ExecutorConfig, Job, open_pool
from study_toys import SCORING, toy_spec, toy_splits, toy_study
from worker_kit import all_gone, by_key, run, square, wait_for_files

# Workers cannot import a test module by name.
for module in (sys.modules[__name__], worker_kit):
    cloudpickle.register_pickle_by_value(module)


@contextlib.contextmanager
def started(nodes=1, **settings):
    """Start a cluster of nodes with one core each, that nobody is connected to."""
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'dataprune[ray]'")
    from ray.cluster_utils import Cluster

    from dataprune.workers.child import environment
    from dataprune.workers.ray import VARIABLES

    # A dead node is noticed after five seconds, not fifteen.
    quick = {"health_check_initial_delay_ms": 1000, "health_check_period_ms": 1000}
    with environment(VARIABLES | settings):
        with own_sigterm():
            cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "_system_config": quick})
        for _ in range(nodes - 1):
            another(cluster)
    yield cluster
    cluster.shutdown()


def another(cluster):
    """Return a further node."""
    with own_sigterm():
        return cluster.add_node(num_cpus=1)


@contextlib.contextmanager
def own_sigterm():
    """Keep our handler of SIGTERM: Ray's ends the test it comes upon, and the others go on without a cluster."""
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)


@pytest.fixture(scope="module")
def cluster():
    with started(2) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    """Features in shards."""
    folder = tmp_path_factory.mktemp("features")
    x = np.random.default_rng(0).normal(size=(9000, 2048)).astype(np.float32)
    for number, part in enumerate(np.array_split(x, 3)):
        np.save(folder / f"part-{number}.npy", part)
    file = read_features(folder)
    return file


def node_of(x, report):
    import ray

    report(ray.get_runtime_context().get_node_id())
    time.sleep(1.5)
    return x * x


MEETING = """
import os, time
from pathlib import Path
from dataprune.training.models import build

def linear(shape, n_classes):
    if os.getpid() != {driver}:
        import ray
        Path({folder!r}, ray.get_runtime_context().get_node_id()).touch()
        end = time.monotonic() + 60
        while len(os.listdir({folder!r})) < 3 and time.monotonic() < end:
            time.sleep(0.02)
    return build("linear", shape, n_classes)
"""
"""A network on which training begins once three nodes have come to it."""


@pytest.mark.ray
class TestTwoNodes:
    def test_both_work_and_a_killed_one_costs_only_its_jobs(self, cluster):
        doomed = another(cluster)
        told = []

        def heard(key, node):
            told.append(node)
            if node == doomed.node_id:
                cluster.remove_node(doomed, allow_graceful=False)

        found = by_key(run([Job(str(x), node_of, x) for x in range(6)], executor="ray", address=cluster.address, on_message=heard))
        assert {key: outcome.value for key, outcome in found.items()} == {str(x): x * x for x in range(6)}
        assert sorted(outcome.attempts for outcome in found.values()) == [1, 1, 1, 1, 1, 2]
        assert len(set(told)) == 3

    def test_the_command_km(self, cluster, features, tmp_path, cli, monkeypatch):
        monkeypatch.setattr("dataprune.run.clusters.PART_ROWS", 2000)  # parts that do not end where the files do
        for name, how in (("a", ()), ("b", ("--executor", "ray", "--address", cluster.address))):
            code, _, err = cli(
                "km", features.path, "--clusters", "25", "--sample", "500", "--out", tmp_path / f"{name}.parquet", "--quiet", *how
            )
            assert (code, err) == (0, "")
        assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()

    def test_the_command_score(self, cluster, flowers, tmp_path, cli):
        settings = ("--effort", "low", "--folds", "0", "--members", "2", "--epochs", "3", "--batch", "4", "--quiet")
        for name, how in (("a", ("serial",)), ("b", ("ray", "--address", cluster.address))):
            code, said, _ = cli("score", flowers, "--out", tmp_path / name, *settings, "--executor", *how)
            assert (code, said) == (0, "")
        for file in ("scores.parquet", "trace/member-000.safetensors", "trace/member-001.safetensors"):
            assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()

    def test_the_command_study(self, cluster, tmp_path, cli):
        splits = toy_splits()
        x = {"x": splits.train.inputs, "x_test": splits.test.inputs, "y": splits.train.labels, "y_test": splits.test.labels}
        np.savez(tmp_path / "toy.npz", **x)
        settings = (
            "--preset",
            "half",
            "--scores",
            "el2n",
            "--model",
            "linear",
            "--epochs",
            "3",
            "--batch",
            "16",
            "--effort",
            "low",
        )
        for name, how in (("a", ("serial",)), ("b", ("ray", "--address", cluster.address))):
            code, said, err = cli("study", tmp_path / "toy.npz", "--out", tmp_path / name, *settings, "--quiet", "--executor", *how)
            assert (code, said, complaints(err)) == (0, "", [])
        one, other = (read_table(tmp_path / name / "trials.parquet").columns for name in "ab")
        for column in one.keys() - {"train_seconds"}:
            np.testing.assert_array_equal(one[column], other[column], err_msg=column)
        assert set(one["status"]) == {"ok"}
        assert (tmp_path / "a" / "summary.parquet").read_bytes() == (tmp_path / "b" / "summary.parquet").read_bytes()

    def test_a_killed_node_costs_a_study_the_trial_that_it_was_at(self, cluster, tmp_path, caplog, monkeypatch):
        (tmp_path / "met").mkdir()
        (tmp_path / "meeting.py").write_text(MEETING.format(driver=os.getpid(), folder=str(tmp_path / "met")))
        monkeypatch.syspath_prepend(tmp_path)
        doomed, begun = another(cluster), []

        def killing(progress):
            if progress.epoch is not None and progress.epoch[1].epoch == 1:
                begun.append(progress.epoch[0].name)
                if len(begun) == 3:
                    cluster.remove_node(doomed, allow_graceful=False)

        spec = toy_spec("half", model="meeting:linear", seeds=1, epochs=200)
        source = StudyInputs(score(toy_splits().train, tmp_path / "run", SCORING, Hardware(executor="serial")).path)
        alone = toy_study(tmp_path / "alone", spec, sources=source)
        hardware = Hardware(executor="ray", address=cluster.address)
        with caplog.at_level(logging.WARNING, logger="dataprune.workers"):
            together = toy_study(tmp_path / "together", spec, sources=source, hardware=hardware, listener=killing)
        (lost,) = [record.getMessage() for record in caplog.records if record.name == "dataprune.workers"]
        assert "worker died (its node died) (attempt 1 of 3)" in lost
        assert len(set(begun)) == 4
        assert len(begun) <= 5, "the lost one alone was begun again; its first message may be lost with it"
        for column in alone.trials.keys() - {"train_seconds"}:
            np.testing.assert_array_equal(alone.trials[column], together.trials[column], err_msg=column)

    def test_a_study_that_other_nodes_do_not_see(self, cluster, tmp_path, monkeypatch):
        from dataprune.workers.ray import RayPool

        spec = toy_spec("half", seeds=1)
        alone = toy_study(tmp_path / "alone", spec)
        monkeypatch.setattr(RayPool, "nodes_without", lambda self, paths: ["node-7"] * bool(paths))
        there = toy_study(tmp_path / "there", spec, hardware=Hardware(executor="ray", address=cluster.address))
        for column in alone.trials.keys() - {"train_seconds"}:
            np.testing.assert_array_equal(alone.trials[column], there.trials[column], err_msg=column)

    def test_workers_end_with_a_driver_that_joined(self, cluster, tmp_path):
        script = f"""
            import os, time
            from pathlib import Path
            from dataprune.workers import ExecutorConfig, Job, run_jobs

            def work(x, report):
                Path({str(tmp_path)!r}, str(x)).write_text(str(os.getpid()))
                sum(range(10 ** 15))

            for _ in run_jobs([Job(str(x), work, x) for x in range(2)], ExecutorConfig("ray", address={cluster.address!r})):
                pass
        """
        with subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], stderr=subprocess.DEVNULL) as driver:
            pids = wait_for_files(tmp_path, 2)
            driver.send_signal(signal.SIGKILL)
            driver.wait(timeout=60)
            assert all_gone(pids, within=1)

    def test_more_of_a_gpu_than_there_is(self, cluster):
        with pytest.raises(MachineError, match=r"no node of the Ray cluster has 0\.5 GPUs; the most is 0\. Ask for fewer `gpus`\."):
            list(run([Job("a", square, 1)], executor="ray", address=cluster.address, gpus=0.5))

    def test_files_are_compared_on_every_node(self, cluster, tmp_path, monkeypatch):
        (tmp_path / "there").write_text("x")
        with open_pool(ExecutorConfig("ray", address=cluster.address)) as workers:
            assert workers.nodes_without([tmp_path / "there"]) == []
            monkeypatch.setattr(workers.ray.util, "get_node_ip_address", lambda: "elsewhere")
            assert workers.nodes_without([tmp_path / "there"]) == []
            found = workers.nodes_without([tmp_path / "there", Path("/proc/self/stat")])  # each process has its own
            assert len(found) == 2
            assert workers.max_payload_bytes() > 2**20

    def test_data_that_other_nodes_do_not_see_travel_up_to_a_fifth_of_the_store(self, cluster, flowers, tmp_path, monkeypatch):
        import dataprune as dp
        from dataprune.workers.ray import RayPool

        settings, data = dp.Settings("low", 2, 2, batch=4, folds=0), dp.read(str(flowers))
        dp.score(data, tmp_path / "seen", settings, dp.Hardware(executor="serial"))
        monkeypatch.setattr(RayPool, "nodes_without", lambda self, paths: ["node-7"] * bool(paths))
        dp.score(data, tmp_path / "unseen", settings, dp.Hardware(executor="ray", address=cluster.address))
        for file in ("scores.parquet", "trace/member-001.safetensors"):
            assert (tmp_path / "seen" / file).read_bytes() == (tmp_path / "unseen" / file).read_bytes()
        monkeypatch.setattr(RayPool, "max_payload_bytes", lambda self: 1000)
        with pytest.raises(MachineError, match=r"node-7, and its .* \(a fifth of the object store\) that may travel"):
            dp.score(data, tmp_path / "large", settings, dp.Hardware(executor="ray", address=cluster.address))

    def test_outcomes_that_are_left_behind_connect_to_nothing(self, cluster):
        with open_pool(ExecutorConfig("ray", address=cluster.address)) as workers:
            outcomes = workers.run([Job(str(x), square, x) for x in range(3)], lambda key, message: None)
            next(outcomes)
        outcomes.close()
        assert not workers.ray.is_initialized()

    def test_large_arrays_are_sent_once(self, cluster):
        array = np.arange(10**6)
        with open_pool(ExecutorConfig("ray", address=cluster.address)) as workers:
            jobs = [Job(str(x), lambda a, report: (int(a.sum()), a.flags.writeable), array) for x in range(4)]
            outcomes = list(workers.run(jobs, lambda key, message: None))
            assert len(workers.sent) == 1
        assert [outcome.value for outcome in outcomes] == [(499_999_500_000, False)] * 4


@pytest.mark.ray
def test_a_cluster_that_is_not_there():
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'dataprune[ray]'")
    with pytest.raises(
        InputError, match=r"`address` must be auto or HOST:PORT, got 'ray://here'\. It is what ray start --head printed"
    ):
        list(run([Job("a", square, 1)], executor="ray", address="ray://here"))
    with pytest.raises(
        MachineError, match=r"cannot reach a Ray cluster at '127\.0\.0\.1:9': .* Start one there \(`ray start --head`\)"
    ):
        list(run([Job("a", square, 1)], executor="ray", address="127.0.0.1:9"))


OWN = """
import os, signal, sys
from pathlib import Path
from dataprune.errors import MachineError
from dataprune.workers import ExecutorConfig, Job, open_pool, run_jobs

job = Job("a", lambda x, report: os.getpid(), 0)
before, handler = dict(os.environ), signal.getsignal(signal.SIGTERM)
for _ in range(2):
    with open_pool(ExecutorConfig("ray", 1)) as pool:
        (outcome,) = pool.run([job], lambda key, message: None)
        assert signal.getsignal(signal.SIGTERM) == handler
        folder = Path(os.environ["RAY_TMPDIR"])
        assert list(folder.iterdir())
    assert not folder.exists()
    assert dict(os.environ) == before
    assert not pool.ray.is_initialized()
print(outcome.value)
try:
    list(run_jobs([job], ExecutorConfig("ray", address="127.0.0.1:6379")))
except MachineError as error:
    print(error)
"""


@pytest.mark.ray
def test_what_was_started_here_is_ended_here(tmp_path):
    """Twice in a process; what has its own token joins no other cluster, and none is left in the home folder."""
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'dataprune[ray]'")
    environment = os.environ | {"HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", OWN], capture_output=True, text=True, env=environment, timeout=200, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    pid, refusal = done.stdout.splitlines()
    assert all_gone([int(pid)], within=1)
    assert "127.0.0.1:6379" in refusal
    assert "new process" in refusal
    assert list(tmp_path.iterdir()) == []


def test_without_ray(monkeypatch, tmp_path, cli):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MachineError, match=r"Ray is not installed\. Install it: pip install 'dataprune\[ray\]'"):
        list(run([Job("a", square, 1)], executor="ray"))
    np.save(tmp_path / "x.npy", np.eye(9))
    code, said, err = cli("km", tmp_path / "x.npy", "--out", tmp_path / "km.csv", "--clusters", "2", "--executor", "ray", "--quiet")
    assert (code, said, err) == (4, "", "error: Ray is not installed. Install it: pip install 'dataprune[ray]'\n")
    assert not (tmp_path / "km.csv").exists()


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"address": "auto"}, r"`address` must go with --executor ray, got 'auto' with processes\."),
        ({"gpus": 0.5}, r"`gpus` must go with --executor ray, got 0\.5 with processes\."),
        ({"gpus": -1.0, "executor": "ray"}, r"`gpus` must be 0 or more, got -1\.0\."),
        ({"gpus": float("nan"), "executor": "ray"}, r"`gpus` must be 0 or more, got nan\."),
    ],
)
def test_what_goes_with_ray_alone(how, message):
    with pytest.raises(InputError, match=message):
        run([], **how)
