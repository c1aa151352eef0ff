"""The trace: what is measured, how members are joined, what a mistaken call is told."""

import dataclasses
import math
import os

import jaxtyping
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dataprune.errors import InputError
from dataprune.scores import median_distance
from dataprune.trace import CHANNELS, MemberTrace, Recorder, Trace, open_member, save_member
from dataprune.trace import record as record_module
from toys import FEATURES, LABELS, PROBABILITIES, TRAINED_ON, random_logits, record, toy_member, toy_trace, trace_of


def same_bits(one: MemberTrace, other: MemberTrace) -> bool:
    return (
        one.arrays.keys() == other.arrays.keys()
        and one.info == other.info
        and all(one.arrays[name].tobytes() == other.arrays[name].tobytes() for name in one.arrays)
    )


# What is measured


def test_channels_by_hand():
    arrays = toy_member(0).arrays
    np.testing.assert_allclose(arrays["p_label"], [[0.8, 0.7, 0.1, 0.3], [0.8, 0.3, 0.1, 0.5], [0.8, 0.8, 0.2, 0.9]], rtol=1e-6)
    assert arrays["predicted"].tolist() == [[0, 1, 0, 1], [0, 0, 1, 0], [0, 1, 0, 0]]
    np.testing.assert_allclose(arrays["margin"][0], np.log([8, 7 / 2, 1 / 7, 1 / 2]), rtol=1e-5)
    np.testing.assert_allclose(arrays["el2n"][2], np.sqrt([0.06, 0.06, 1.04, 0.015]), rtol=1e-5)
    np.testing.assert_allclose(arrays["entropy"][2, 3], -(0.9 * math.log(0.9) + 0.1 * math.log(0.05)), rtol=1e-5)
    assert np.isnan(arrays["kl_previous"][0]).all()
    assert np.isnan(arrays["kl_previous_abs"][0]).all()
    # Example 3 from (.3, .6, .1) to (.5, .4, .1).
    np.testing.assert_allclose(arrays["kl_previous"][1, 3], 0.5 * math.log(5 / 3) - 0.4 * math.log(1.5), rtol=1e-5)
    np.testing.assert_allclose(arrays["kl_previous_abs"][1, 3], 0.5 * math.log(5 / 3) + 0.4 * math.log(1.5), rtol=1e-5)
    np.testing.assert_allclose(arrays["grand"], arrays["el2n"] * [1, 2, 3, 4], rtol=1e-6)
    np.testing.assert_allclose(arrays["probabilities"], PROBABILITIES[0, -1], rtol=1e-3)
    assert {name: arrays[name].dtype for name in CHANNELS} == CHANNELS
    assert arrays["probabilities"].dtype == np.float16


def test_channels_against_a_naive_loop_in_double_precision():
    labels, logits = random_logits(seed=3, members=1)
    arrays = record(logits[0], labels).arrays
    for epoch, rows in enumerate(logits[0]):
        for example, row in enumerate(rows):
            label = labels[example]
            p = [math.exp(x) / sum(math.exp(y) for y in row) for x in row]
            error = math.sqrt(sum((p[k] - (k == label)) ** 2 for k in range(len(p))))
            assert arrays["el2n"][epoch, example] == pytest.approx(error, rel=1e-4)
            assert arrays["margin"][epoch, example] == pytest.approx(row[label] - max(np.delete(row, label)), abs=1e-5)
            assert arrays["entropy"][epoch, example] == pytest.approx(-sum(x * math.log(x) for x in p), rel=1e-4)
            assert arrays["predicted"][epoch, example] == max(range(len(p)), key=p.__getitem__)
            if epoch:
                q = [math.exp(x) / sum(math.exp(y) for y in logits[0][epoch - 1, example]) for x in logits[0][epoch - 1, example]]
                terms = [a * (math.log(a) - math.log(b)) for a, b in zip(p, q, strict=True)]
                assert arrays["kl_previous"][epoch, example] == pytest.approx(sum(terms), rel=1e-3, abs=1e-5)
                assert arrays["kl_previous_abs"][epoch, example] == pytest.approx(sum(map(abs, terms)), rel=1e-3, abs=1e-5)


def test_el2n_ranks_examples_whose_probability_rounds_to_one():
    logits = np.array([[[20.0, 0.0, 0.0], [25.0, 0.0, 0.0], [30.0, 0.0, 0.0]]])
    arrays = record(logits, np.array([0, 0, 0])).arrays
    assert (arrays["p_label"] == 1.0).any()
    assert arrays["el2n"][0, 0] > arrays["el2n"][0, 1] > arrays["el2n"][0, 2] > 0
    np.testing.assert_allclose(arrays["el2n"][0], np.sqrt(6) * np.exp([-20.0, -25.0, -30.0]), rtol=1e-5)


def test_grand_is_the_gradient_norm_of_the_last_layer():
    generator = torch.Generator().manual_seed(0)
    for bias in (True, False):
        layer = torch.nn.Linear(4, 3, bias=bias)
        features, labels = torch.randn(5, 4, generator=generator), torch.tensor([0, 1, 2, 0, 1])
        recorder = Recorder(labels.numpy(), 3, 1, last_bias=bias)
        recorder.update(torch.arange(5), layer(features), 0, features)
        for row, value in enumerate(recorder.finish().arrays["grand"][0]):
            loss = torch.nn.functional.cross_entropy(layer(features[row : row + 1]), labels[row : row + 1])
            gradients = torch.autograd.grad(loss, list(layer.parameters()))
            assert value == pytest.approx(math.sqrt(sum(float(g.square().sum()) for g in gradients)), rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_torch_and_numpy_of_any_float_type_are_taken(dtype):
    labels, logits = random_logits(members=1, epochs=1)
    recorder = Recorder(labels, 5, 1)
    recorder.update(torch.arange(20), torch.tensor(logits[0, 0], dtype=dtype, requires_grad=True), 0)
    tolerance = 1e-6 if dtype.itemsize >= 4 else 5e-2
    np.testing.assert_allclose(recorder.finish().arrays["p_label"], record(logits[0], labels).arrays["p_label"], atol=tolerance)


@given(st.integers(1, 7), st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_batches_and_their_order_do_not_matter(batches, seed):
    labels, logits = random_logits(seed=seed, members=1, epochs=2)
    whole = Recorder(labels, 5, 2)
    for epoch in range(2):
        whole.update(np.arange(20), logits[0, epoch], epoch)
    parts, reference = record(logits[0], labels, batches=batches).arrays, whole.finish().arrays
    for name in CHANNELS.keys() - {"grand"}:
        np.testing.assert_allclose(parts[name], reference[name], rtol=1e-5, atol=1e-6)


def test_a_large_call_is_measured_in_blocks(monkeypatch):
    labels, logits = random_logits(members=1)
    expected = record(logits[0], labels)
    monkeypatch.setattr(record_module, "BLOCK_VALUES", 15)
    assert same_bits(record(logits[0], labels), expected)


def test_extreme_logits_give_no_infinity():
    logits = np.array([[[3e38, -3e38], [0.0, 1.0]], [[-3e38, 3e38], [0.0, 1.0]]])
    arrays = record(logits, np.array([0, 0])).arrays
    assert np.isfinite(arrays["kl_previous"][1]).all()
    assert np.isfinite(arrays["entropy"]).all()
    assert arrays["el2n"][:, 0].tolist() == pytest.approx([0.0, math.sqrt(2)])


def test_no_global_seed_is_read_or_set():
    labels, logits = random_logits()
    before = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002  the state is only looked at
    trace_of(labels, logits).probabilities()
    assert np.array_equal(before[0], np.random.get_state()[1])  # noqa: NPY002
    assert torch.equal(before[1], torch.get_rng_state())


# The last epoch's probabilities


def test_label_probability_is_exact_where_half_precision_is_not():
    logits = np.array([[[9.0, 0.0, 0.0], [10.0, 0.0, 0.0]]])
    p = trace_of(np.array([0, 0]), logits[None]).probabilities()
    np.testing.assert_allclose(1 - p[:, 0].astype(np.float64), 2 / (np.exp([9.0, 10.0]) + 2), rtol=2e-3)
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-6)
    labels, logits = random_logits(members=1, examples=200)
    trace = trace_of(labels, logits)
    p = trace.member_probabilities(0)
    assert np.array_equal(p[np.arange(200), labels], trace.last("p_label")[0])
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-6)


def test_very_large_sets_keep_the_largest_probabilities(monkeypatch):
    labels, logits = random_logits(members=2, classes=40)
    whole = trace_of(labels, logits)
    monkeypatch.setattr(record_module, "FULL_VALUES", 20 * 40 - 1)
    monkeypatch.setattr(record_module, "BLOCK_VALUES", 120)
    large = trace_of(labels, logits)
    arrays = record(logits[0], labels).arrays
    assert "probabilities" not in arrays
    assert (arrays["top_probabilities"].shape, arrays["top_probabilities"].dtype) == ((20, 16), np.float16)
    assert (arrays["top_classes"].shape, arrays["top_classes"].dtype) == ((20, 16), np.int32)
    assert (arrays["rest"].shape, arrays["rest"].dtype) == ((20,), np.float32)
    assert (np.diff(arrays["top_probabilities"].astype(np.float32), axis=1) <= 0).all()
    # What is spread over the 24 small classes differs by less than all of it.
    np.testing.assert_allclose(large.probabilities(), whole.probabilities(), atol=0.05)
    np.testing.assert_allclose(large.probabilities().sum(axis=1), 1, atol=1e-6)
    assert (large.probabilities().argmax(axis=1) == whole.probabilities().argmax(axis=1)).all()
    np.testing.assert_allclose(
        large.channel("kl_previous")[:, 1:], whole.channel("kl_previous")[:, 1:], rtol=0.05, atol=0.01
    )  # half precision in between


def test_probabilities_by_who_saw_the_example():
    trace = toy_trace()
    first, second = PROBABILITIES[:, -1]
    np.testing.assert_allclose(trace.probabilities(), (first + second) / 2, rtol=1e-3)
    expected = np.stack([(first[0] + second[0]) / 2, first[1], second[2], first[3]])
    np.testing.assert_allclose(trace.probabilities("in"), expected, rtol=1e-3)
    np.testing.assert_allclose(trace[1:4].probabilities("out"), np.stack([second[1], first[2], second[3]]), rtol=1e-3)
    with pytest.raises(InputError, match=r"evidence 'out' is not there for 1 of 4 examples \(rows 0\): .* Score with --folds"):
        trace.probabilities("out")
    assert (trace.trained_on == TRAINED_ON).all()


def test_the_mirror_image_counts_where_it_is_asked_for():
    recorder = Recorder([0, 1], 2, 1)
    recorder.update([0, 1], np.log([[0.8, 0.2], [0.4, 0.6]]), 0)
    trace = Trace([recorder.finish(mirrored=np.array([[0.6, 0.4], [0.0, 1.0]]))], [0, 1])
    np.testing.assert_allclose(trace.member_probabilities(0), [[0.8, 0.2], [0.4, 0.6]], atol=1e-3)
    np.testing.assert_allclose(trace.member_probabilities(0, mirrored=True), [[0.7, 0.3], [0.2, 0.8]], atol=1e-3)
    np.testing.assert_allclose(trace[1:].member_probabilities(0, mirrored=True), [[0.2, 0.8]], atol=1e-3)
    assert np.array_equal(toy_trace().member_probabilities(0, mirrored=True), toy_trace().member_probabilities(0))
    for wrong, said in (
        (np.ones((2, 3)) / 3, r"shape \(2, 2\)"),
        (np.ones((2, 2)), "sum to 1"),
        (np.array([[2.0, -1.0]] * 2), "sum"),
    ):
        with pytest.raises(InputError, match=f"`mirrored` must hold probabilities.*{said}"):
            recorder.finish(mirrored=wrong)


# Joining and reading


def test_shape_and_views():
    trace = toy_trace()
    assert (trace.n_members, trace.n_epochs, trace.n_examples, trace.n_classes, trace.when) == (2, 3, 4, 3, "clean")
    view = trace[1:][:2]
    assert (view.n_examples, view.labels.tolist(), len(view)) == (2, [1, 2], 2)
    assert np.array_equal(view.channel("p_label"), trace.channel("p_label")[:, :, 1:3])
    assert np.array_equal(view.last("el2n"), trace.channel("el2n")[:, -1, 1:3])
    assert np.array_equal(view.trained_on, TRAINED_ON[:, 1:3])
    assert [chunk.n_examples for chunk in trace.chunks(3)] == [3, 1]
    assert [chunk.n_examples for chunk in trace.chunks()] == [4]
    with pytest.raises(InputError, match="slice without a step"):
        trace[::2]


def test_ids_follow_the_view():
    trace = Trace([toy_member()], LABELS, np.array(["a", "b", "c", "d"], np.dtypes.StringDType()))
    assert trace[2:].ids.tolist() == ["c", "d"]


def test_arrays_are_read_only_where_asked():
    largest: dict[int, int] = {}

    class Counting(np.ndarray):
        def __getitem__(self, key):
            part = np.asarray(self)[key]
            largest[id(self)] = max(largest.get(id(self), 0), part.size)
            return part

    labels, logits = random_logits(examples=100)
    member = record(logits[0], labels)
    counting = {name: array.view(Counting) for name, array in member.arrays.items()}
    trace = Trace([MemberTrace(counting, member.info)], labels)
    assert not largest
    for chunk in trace.chunks(10):
        chunk.channel("p_label")
        chunk.probabilities()
    assert largest[id(counting["p_label"])] == 4 * 10
    assert largest[id(counting["probabilities"])] == 5 * 10


def test_write_then_read_is_identity_and_equal_members_are_equal_bytes(tmp_path):
    member = record(np.log(PROBABILITIES[0]), LABELS)
    weighted = dataclasses.replace(member, arrays={**member.arrays, "weights.head": np.ones((2, 3), np.float32)})
    save_member(tmp_path / "a", weighted)
    save_member(tmp_path / "b", weighted)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    opened = open_member(tmp_path / "a")
    assert set(opened.arrays) == set(weighted.arrays)
    assert opened.info == weighted.info
    for name, array in weighted.arrays.items():
        assert opened.arrays[name].dtype == array.dtype
        assert np.array_equal(opened.arrays[name], array, equal_nan=array.dtype.kind == "f")
    assert np.array_equal(Trace([opened], LABELS).channel("el2n"), member.arrays["el2n"][None])


def test_finish_keeps_weights():
    recorder = Recorder([0, 1], 2, 1)
    recorder.update([0, 1], np.array([[1.0, 2.0], [3.0, 4.0]]), 0)
    member = recorder.finish({"fc.bias": np.zeros(2)})
    assert member.arrays["weights.fc.bias"].tolist() == [0, 0]
    assert {key: member.info[key] for key in ("when", "seed", "epochs", "n_classes", "status")} == {
        "when": "clean",
        "seed": 0,
        "epochs": 1,
        "n_classes": 2,
        "status": "ok",
    }


# What a mistaken call is told


def recorder_with(**options):
    return Recorder(np.zeros(10, np.int64), 3, 2, **options)


LOGITS = np.random.default_rng(0).normal(size=(10, 3))


@pytest.mark.parametrize(
    ("rows", "logits", "epoch", "message"),
    [
        ([0, 10], LOGITS[:2], 0, "`rows`.* 0 ... 9, got 10"),
        ([0, -1], LOGITS[:2], 0, "`rows`.* 0 ... 9, got -1"),
        ([0.5], LOGITS[:1], 0, "`rows`.*float64"),
        ([3, 3, 4], LOGITS[:3], 0, "`rows`.*epoch 0: 3. .*once"),
        ([0], LOGITS[:1], 2, "`epoch`.* 0 ... 1, got 2"),
        ([0], LOGITS[:1], 1, "epoch 0.* 10 of 10 rows: 0, 1, 2, 3, 4 and 5 more.*drop_last"),
        ([0, 1], LOGITS[:2, :2], 0, r"`logits`.*\(2, 3\), got \(2, 2\)"),
        ([0, 1], LOGITS[:3], 0, r"`logits`.*\(2, 3\), got \(3, 3\)"),
        ([0, 1], LOGITS[0], 0, r"`logits`.*\(2, 3\), got \(3,\)"),
        ([4, 7], np.array([[0, 1, 2], [0, np.nan, 1]]), 0, "`logits`.*rows 7.*learning rate"),
        ([4, 7], np.array([["a"] * 3] * 2), 0, "`logits`.*<U1"),
    ],
)
def test_update_names_what_is_wrong_and_records_nothing(rows, logits, epoch, message):
    recorder = recorder_with()
    with pytest.raises(InputError, match=message):
        recorder.update(rows, logits, epoch)
    recorder.update(np.arange(10), LOGITS, 0)


def test_rows_repeat_over_batches_of_an_epoch():
    recorder = recorder_with(when="online")
    recorder.update([0, 1], LOGITS[:2], 0)
    with pytest.raises(InputError, match=r"`rows` repeat within epoch 0: 1."):
        recorder.update([1, 2], LOGITS[:2], 0)


def test_probabilities_in_place_of_logits_are_refused():
    """Published: margins and divergences computed on the wrong one of the two."""
    p = PROBABILITIES[0, 0]
    message = r"`logits` must not be probabilities, got rows that lie in \[0, 1\] and sum to 1 .*before the softmax"
    with pytest.raises(InputError, match=message):
        Recorder(LABELS, 3, 1).update(np.arange(4), p, 0)
    with pytest.raises(InputError, match=message):
        Recorder(LABELS, 3, 1).update(np.arange(4), torch.tensor(p, dtype=torch.bfloat16), 0)
    one_by_one = Recorder(LABELS, 3, 1)
    one_by_one.update([0], p[:1], 0)
    with pytest.raises(InputError, match=message):
        one_by_one.update([1], p[1:2], 0)


def test_one_row_that_looks_like_probabilities_is_no_mistake():
    recorder = recorder_with()
    recorder.update([0], np.array([[0.2, 0.3, 0.5]]), 0)
    recorder.update(np.arange(1, 10), LOGITS[1:], 0)
    recorder.update(np.arange(10), np.tile([0.2, 0.3, 0.5], (10, 1)), 1)
    assert recorder.finish().info["epochs"] == 2


def test_epochs_come_in_order_and_complete():
    recorder = recorder_with()
    recorder.update(np.arange(9), LOGITS[:9], 0)
    with pytest.raises(InputError, match=r"epoch 0 lacks 1 of 10 rows: 9. Record every example in every epoch"):
        recorder.update([0], LOGITS[:1], 1)
    with pytest.raises(InputError, match=r"epoch 0 lacks 1 of 10 rows: 9."):
        recorder.finish()
    recorder.update([9], LOGITS[9:], 0)
    recorder.update(np.arange(10), LOGITS, 1)
    with pytest.raises(InputError, match=r"`epoch` must come in order, 1 or 2 now, got 0."):
        recorder.update([0], LOGITS[:1], 0)


def test_only_recorded_epochs_have_an_accuracy_and_a_loss():
    recorder = recorder_with()
    for measure in (recorder.accuracy, recorder.loss):
        with pytest.raises(InputError, match=r"`epoch`.*recorded.*got 0"):
            measure(0)
    recorder.update(np.arange(10), LOGITS, 0)
    assert recorder.accuracy(0) == pytest.approx((LOGITS.argmax(1) == 0).mean())
    assert recorder.loss(0) == pytest.approx(torch.nn.functional.cross_entropy(torch.tensor(LOGITS), torch.zeros(10).long()).item())
    recorder.update([0], LOGITS[:1], 1)
    for epoch in (1, 2, 7, -1):
        for measure in (recorder.accuracy, recorder.loss):
            with pytest.raises(InputError, match=f"`epoch` must be in 0 ... 0.*got {epoch}"):
                measure(epoch)


def test_recorder_and_trace_are_printed_by_their_shape():
    recorder = recorder_with()
    recorder.update(np.arange(10), LOGITS, 0)
    assert repr(recorder) == "Recorder(10 examples, 3 classes, 1 of 2 epochs, clean)"
    assert repr(toy_trace()[:3]) == "Trace(2 members, 3 epochs, 3 examples, 3 classes, clean)"
    assert "2 members" in toy_trace()._repr_html_()
    assert "<td>el2n</td>" in toy_trace()._repr_html_()


def test_features_come_always_or_never():
    recorder = recorder_with()
    recorder.update([0], LOGITS[:1], 0, LOGITS[:1])
    with pytest.raises(InputError, match=r"`features` must be given in every call or in none, got them in some."):
        recorder.update([1], LOGITS[:1], 0)
    with pytest.raises(InputError, match=r"`features` must have shape \(1, D\), got \(2, 3\)."):
        recorder.update([1], LOGITS[:1], 0, LOGITS[:2])
    with pytest.raises(InputError, match=r"`features` are NaN or infinite at rows 1."):
        recorder.update([1], LOGITS[:1], 0, np.full((1, 3), np.inf))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"labels": [0, 3]}, r"`labels` must be in 0 ... 2, got 3 \(rows 1\)."),
        ({"labels": [-1, 1]}, r"`labels` must be in 0 ... 2, got -1 \(rows 0\)."),
        ({"labels": [0.5, 1.0]}, "`labels` must be integers, got an array of float64."),
        ({"labels": [[0, 1]]}, r"`labels` must be one class index for each example, got an array of shape \(1, 2\)."),
        ({"labels": np.zeros(0, int)}, "`labels` must name at least one example, got none."),
        ({"n_classes": 1}, "`n_classes` must be at least 2, got 1."),
        ({"epochs": 0}, "`epochs` must be at least 1, got 0."),
        ({"when": "later"}, "`when` must be one of clean, online, got 'later'."),
        ({"trained_on": [True]}, r"`trained_on` must be 2 bools, got bool of shape \(1,\)."),
    ],
)
def test_recorder_names_what_is_wrong(arguments, message):
    with pytest.raises(InputError, match=message):
        Recorder(**{"labels": [0, 1], "n_classes": 3, "epochs": 1, **arguments})


def test_of_members_of_different_epochs_the_last_ones_count():
    longer, shorter = toy_member(0), record(np.log(PROBABILITIES[1, 1:]), LABELS)
    trace = Trace([longer, shorter], LABELS)
    assert trace.n_epochs == 2
    np.testing.assert_array_equal(trace.channel("p_label")[0], longer.arrays["p_label"][1:])
    np.testing.assert_array_equal(trace.channel("p_label")[1], shorter.arrays["p_label"])
    np.testing.assert_array_equal(trace.until(1).last("margin")[0], longer.arrays["margin"][1])
    np.testing.assert_array_equal(trace.last("margin")[0], longer.arrays["margin"][2])
    np.testing.assert_allclose(trace.member_probabilities(0), PROBABILITIES[0, 2], atol=1e-3)
    turned = Trace(list(trace.members_at(np.array([3, 1]))), LABELS[[3, 1]])
    np.testing.assert_array_equal(turned.channel("el2n"), trace.channel("el2n")[:, :, [3, 1]])
    np.testing.assert_array_equal(turned.probabilities(), trace.probabilities()[[3, 1]])
    np.testing.assert_array_equal(turned.trained_on, trace.trained_on[:, [3, 1]])


def test_members_must_agree():
    member = toy_member()
    online = record(np.log(PROBABILITIES[0]), LABELS, when="online")
    failed = dataclasses.replace(member, info={**member.info, "status": "diverged"})
    for members, labels, message in [
        ([], LABELS, "`members`.*none"),
        ([member, online], LABELS, "`members`.*when, got 'clean' and 'online' of member 1"),
        ([member], LABELS[:3], "`labels`.*member 0: 4, got 3"),
        ([member], [0, 1, 2, 1], "`labels`.*member 0's"),
        ([member, failed], LABELS, "member 1.*'diverged'.*Leave it out"),
    ]:
        with pytest.raises(InputError, match=message):
            Trace(members, labels)
    recorder = Recorder(LABELS, 3, 1)
    for wrong, said in [([recorder], "Recorder.*finish"), ([member, 3], "int at place 1"), (member, "a list.*MemberTrace")]:
        with pytest.raises((InputError, jaxtyping.TypeCheckError), match=f"{said}|Type-check"):
            Trace(wrong, LABELS)
    with pytest.raises(InputError, match=r"`ids` must be as many as labels: 4, got 1."):
        Trace([member], LABELS, np.array(["a"]))


def test_absent_channels_say_why():
    trace = Trace([record(np.log(PROBABILITIES[0]), LABELS)], LABELS)
    with pytest.raises(InputError, match=r"the trace has no channel 'grand' \(members 0\). Pass features="):
        trace.channel("grand")
    with pytest.raises(InputError, match="Did you mean 'el2n'"):
        trace.last("el2m")
    with pytest.raises((InputError, jaxtyping.TypeCheckError), match="both"):
        trace.probabilities("both")
    bare = {name: array for name, array in trace._members[0].arrays.items() if name != "probabilities"}
    with pytest.raises(InputError, match="member 0 holds no probabilities of its last epoch"):
        Trace([MemberTrace(bare, trace._members[0].info)], LABELS).probabilities()


# The tests themselves


@pytest.mark.skipif(os.environ.get("CHECK_TYPES") != "1", reason="annotations are checked with CHECK_TYPES=1: make test-types")
def test_wrong_shapes_and_types_are_caught_in_tests():
    assert FEATURES.shape == (4, 2)
    with pytest.raises(jaxtyping.TypeCheckError):
        median_distance(FEATURES.tolist(), LABELS)
    with pytest.raises(jaxtyping.TypeCheckError):
        record_module._last_epoch(np.zeros(3, np.float32))


def test_members_of_a_trace():
    trace = toy_trace()
    second = trace.of_members([1])
    assert second.n_members == 1
    assert np.array_equal(second.channel("el2n")[0], trace.channel("el2n")[1])
    assert np.array_equal(trace[1:3].of_members([1, 0]).last("margin"), trace.last("margin")[::-1, 1:3])
    for bad in ([2], []):
        with pytest.raises(InputError, match=r"`members` must be places in 0 \.\.\. 1, got"):
            trace.of_members(bad)
