"""Recording callbacks in the real libraries: a training keeps its bits, and its trace survives stops, failures and checkpoints."""

import inspect
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import dataprune as dp
from dataprune.errors import InputError

pytestmark = [pytest.mark.integrations, pytest.mark.filterwarnings("ignore")]
for library in ("transformers", "lightning", "accelerate"):
    pytest.importorskip(library)

from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint  # noqa: E402
from transformers import EarlyStoppingCallback  # noqa: E402

import integration_kit as kit  # noqa: E402 where they are installed
from integration_kit import N, Plants, by_accelerate, by_huggingface, by_lightning, recorder  # noqa: E402


def same_traces(one, other):
    assert one.arrays.keys() == other.arrays.keys()
    for name in one.arrays:
        np.testing.assert_array_equal(one.arrays[name], other.arrays[name], err_msg=name)


@pytest.mark.parametrize(
    ("arguments", "epochs"),
    [
        ({"num_train_epochs": 2}, 2),
        ({"num_train_epochs": 1.3, "bf16": True}, 2),
        ({"max_steps": 5}, 1),
        ({"max_steps": 5, "gradient_accumulation_steps": 3}, 2),
    ],
)
def test_huggingface_keeps_its_bits_wherever_it_stops(arguments, epochs, tmp_path):
    record = recorder("huggingface")
    assert torch.equal(by_huggingface(record, tmp_path, **arguments), by_huggingface(None, tmp_path, **arguments))
    assert (record.recorder.n_recorded, record.incomplete) == (epochs, "")
    assert record.finish().info["classes"] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("arguments", "epochs"),
    [
        ({"max_epochs": 2}, 2),
        ({"max_steps": 10}, 2),
        ({"max_epochs": 1, "precision": "bf16-true"}, 1),
        ({"max_epochs": 1, "precision": "64-true"}, 1),
        ({"max_epochs": 1, "precision": "bf16-mixed", "accumulate_grad_batches": 3}, 1),
    ],
)
def test_lightning_keeps_its_bits_wherever_it_stops(arguments, epochs, tmp_path):
    record = recorder("lightning")
    assert torch.equal(by_lightning(record, tmp_path, **arguments), by_lightning(None, tmp_path, **arguments))
    assert (record.recorder.n_recorded, record.incomplete) == (epochs, "")


def test_accelerate_keeps_its_bits(tmp_path):
    found, record = by_accelerate(True, tmp_path)
    assert torch.equal(found, by_accelerate(False, tmp_path)[0])
    assert (record.recorder.n_recorded, record.incomplete) == (2, "")


def test_what_is_recorded_is_a_plain_evaluation(tmp_path):
    record = recorder("huggingface")
    set_to = by_huggingface(record, tmp_path, num_train_epochs=2)
    net, start = kit.Net(), 0
    for value in net.state_dict().values():  # as `weights` joined them
        value.copy_(set_to[start : start + value.numel()].reshape(value.shape))
        start += value.numel()
    with torch.no_grad():
        p = net.eval()(Plants().x)["logits"].softmax(1)
    member = record.finish()
    np.testing.assert_allclose(member.arrays["p_label"][-1], p[np.arange(N), Plants().labels], atol=1e-6)
    assert member.arrays["p_label"].shape == (2, N)


def test_early_stopping_leaves_the_epochs_that_were(tmp_path):
    record = recorder("huggingface")
    stop = EarlyStoppingCallback(1, early_stopping_threshold=10.0)
    every = {"eval_strategy": "epoch", "save_strategy": "epoch", "load_best_model_at_end": True, "metric_for_best_model": "loss"}
    by_huggingface(record, tmp_path / "h", callbacks=[stop], num_train_epochs=9, **every)
    assert record.finish().info["epochs"] == 2
    record = recorder("lightning")
    by_lightning(record, tmp_path / "l", callbacks=[StopAfter(3)], max_epochs=-1)
    assert record.finish().info["epochs"] == 3


class StopAfter(EarlyStopping):
    """Stops after so many epochs."""

    def __init__(self, epochs):
        super().__init__("none", strict=False)
        self.epochs = epochs

    def on_train_epoch_end(self, trainer, pl_module):
        trainer.should_stop = trainer.current_epoch + 1 >= self.epochs


@pytest.mark.parametrize(("saves", "at"), [({"save_strategy": "epoch"}, 8), ({"save_strategy": "steps", "save_steps": 4}, 8)])
def test_huggingface_goes_on_from_its_checkpoint(saves, at, tmp_path):
    """Of a checkpoint in steps, written before the epoch's end is recorded, the epoch is recorded where training goes on."""
    whole, again = recorder("huggingface"), recorder("huggingface")
    first = by_huggingface(whole, tmp_path, num_train_epochs=3, **saves)
    resumed = by_huggingface(again, tmp_path, f"{tmp_path}/checkpoint-{at}", num_train_epochs=3, **saves)
    assert torch.equal(first, resumed)
    same_traces(whole.finish(), again.finish())


def test_huggingface_without_a_record_in_the_checkpoint_says_so(tmp_path, caplog):
    by_huggingface(None, tmp_path, num_train_epochs=3, save_strategy="steps", save_steps=12)
    record = recorder("huggingface")
    by_huggingface(record, tmp_path, f"{tmp_path}/checkpoint-12", num_train_epochs=3, save_strategy="no")
    assert "first 1 epochs" in record.finish().info["incomplete"]
    assert caplog.text.count("incomplete") == 1
    assert record.recorder.n_recorded == 2


@pytest.mark.parametrize("when", [{"save_on_train_epoch_end": True}, {"every_n_train_steps": 8}, {"every_n_train_steps": 12}])
def test_lightning_goes_on_from_its_checkpoint(when, tmp_path):
    whole, again = recorder("lightning"), recorder("lightning")
    by_lightning(whole, tmp_path, callbacks=[ModelCheckpoint(tmp_path, "{step}", save_top_k=-1, **when)], max_epochs=3)
    at = 12 if when.get("every_n_train_steps") == 12 else 8
    resumed = by_lightning(again, tmp_path, f"{tmp_path}/step={at}.ckpt", max_epochs=3)  # read by the safe loader
    assert torch.equal(resumed, by_lightning(None, tmp_path, f"{tmp_path}/step={at}.ckpt", max_epochs=3))
    assert (again.recorder.n_recorded, again.incomplete) == (3, "")
    np.testing.assert_array_equal(again.finish().arrays["p_label"][0], whole.finish().arrays["p_label"][0])


def test_accelerate_goes_on_from_its_checkpoint(tmp_path):
    _, whole = by_accelerate(True, tmp_path, epochs=3, saves=True)
    _, again = by_accelerate(True, tmp_path, f"{tmp_path}/epoch-0", epochs=3)
    assert again.finish().info["epochs"] == 3
    np.testing.assert_array_equal(again.finish().arrays["p_label"][0], whole.finish().arrays["p_label"][0])


class Failing(Plants):
    """A clean set whose pictures cannot be read in the second epoch, for long."""

    def __getitem__(self, row):
        self.read = getattr(self, "read", 0) + 1
        if self.read > N + 40:
            raise OSError("the disk is gone")
        return super().__getitem__(row)


@pytest.mark.parametrize("library", ["huggingface", "lightning", "accelerate"])
def test_a_failure_loses_no_training_and_marks_the_record(library, tmp_path, caplog):
    clean = Failing(as_pairs=library == "lightning")
    if library == "accelerate":
        found, record = by_accelerate(True, tmp_path, epochs=4, clean=clean)
        plain, _ = by_accelerate(False, tmp_path, epochs=4)
    else:
        record = recorder(library, clean)
        train, arguments = (
            (by_huggingface, {"num_train_epochs": 4}) if library == "huggingface" else (by_lightning, {"max_epochs": 4})
        )
        found, plain = (train(one, tmp_path, **arguments) for one in (record, None))
    assert torch.equal(found, plain)
    assert caplog.text.count("the trace is incomplete") == 1
    member = record.finish()
    assert (member.info["epochs"], "epoch 2 failed: the disk is gone" in member.info["incomplete"]) == (1, True)
    run = dp.write_run(dp.Trace([member], Plants().labels.numpy()), dp.from_arrays(Plants().x), tmp_path / "run")
    assert any("the disk is gone" in note for note in run.manifest.notes)


def test_texts_of_any_length_go_the_way_that_the_trainer_goes(tmp_path):
    import datasets
    import transformers

    texts = [" ".join(["word"] * (1 + row % 5)) for row in range(24)]
    tokens = [[1 + len(text) % 7] * (1 + row % 5) for row, text in enumerate(texts)]
    labels = [row % 2 for row in range(24)]
    columns = {"text": texts, "input_ids": tokens, "attention_mask": [[1] * len(one) for one in tokens], "label": labels}
    shape = {"vocab_size": 16, "dim": 8, "hidden_dim": 8, "n_layers": 1, "n_heads": 2, "max_position_embeddings": 8}
    model = transformers.DistilBertForSequenceClassification(transformers.DistilBertConfig(**shape, num_labels=2))

    def padded(items):
        width = max(len(one["input_ids"]) for one in items)
        pad = {name: [one[name] + [0] * (width - len(one[name])) for one in items] for name in ("input_ids", "attention_mask")}
        return {name: torch.tensor(rows) for name, rows in pad.items()} | {"labels": torch.tensor([one["label"] for one in items])}

    train = datasets.Dataset.from_dict(columns)
    record = kit.huggingface.RecordTrace(dp.Recorder(labels, ["no", "yes"]), train, batch=10)
    asked = transformers.TrainingArguments(
        str(tmp_path), report_to=[], use_cpu=True, num_train_epochs=1, disable_tqdm=True, save_strategy="no"
    )
    transformers.Trainer(model=model, args=asked, train_dataset=train, data_collator=padded, callbacks=[record]).train()
    run = dp.write_run(dp.Trace([record.finish()], labels), train.select_columns(["text", "label"]), tmp_path / "run")
    assert (run.manifest.data.kind, run.classes, len(run.ids)) == ("texts", ("no", "yes"), 24)


def test_what_would_lose_the_record_is_refused_before_training(tmp_path):
    with pytest.raises(InputError, match="an item for each of 60 labels, got 7"):
        kit.huggingface.RecordTrace(dp.Recorder(Plants().labels.numpy(), 3), list(range(7)))
    record = recorder("lightning")
    with pytest.raises(InputError, match="nothing was recorded"):
        record.finish()
    by_lightning(record, tmp_path, max_epochs=1)
    with pytest.raises(InputError, match="`recorder` must be a new one, got one with 1 epochs"):
        by_lightning(record, tmp_path, max_epochs=1)


def test_a_model_in_shards_is_left_alone(tmp_path, caplog):
    record, net = recorder("huggingface"), kit.Net()
    net.head.weight.ds_id = 3  # as DeepSpeed marks what is not whole here; a forward pass would wait for the other processes
    record.epoch_ended(1, net)
    assert "shards" in record.incomplete


@pytest.mark.parametrize("library", ["huggingface", "lightning"])
def test_the_callbacks_take_what_the_base_does(library):
    base, own = kit.MODULES[library].CleanPass, kit.MODULES[library].RecordTrace
    assert list(inspect.signature(base).parameters)[:2] == ["recorder", "clean_set"]
    assert issubclass(own, base)


def test_two_processes_record_once_and_train_as_without(tmp_path):
    script = str(Path(kit.__file__))
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone", script, str(tmp_path)]
    both = [
        subprocess.Popen(one, stderr=subprocess.PIPE, text=True)
        for one in (launch, [sys.executable, script, str(tmp_path), "spawn"])
    ]
    errors = [one.communicate(timeout=550)[1] for one in both]
    assert [one.returncode for one in both] == [0, 0], errors
    for library in kit.MODULES:
        first, second = (np.load(tmp_path / f"{library}-{rank}.npz") for rank in (0, 1))
        assert first["same"], library
        assert second["same"], library
        assert first["p_label"].shape == (2, N)
        assert "nothing was recorded" in str(second["refused"])
    assert "nothing was recorded" in (tmp_path / "spawn.txt").read_text("utf-8")
    assert "ddp_spawn" in errors[1]
