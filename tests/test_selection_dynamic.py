"""Other examples in every epoch: what is left out, weights that make up for it, processes that agree, states that go on."""

import socket

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import dataprune as dp
from dataprune.errors import InputError
from dataprune.selection.dynamic import Dynamic, DynamicSampler, random_part

LOSSES = np.r_[np.linspace(0.0, 0.9, 90), np.full(10, 5.0)]  # 90 below the mean


def drawn(sampler, epoch):
    sampler.set_epoch(epoch)
    return list(sampler)


def test_infobatch_leaves_out_a_share_of_the_easy_ones_and_lets_the_others_count_for_them():
    sampler = DynamicSampler(100, 8)
    assert sorted(sampler) == list(range(100))  # nothing is known yet
    sampler.update(np.arange(100), LOSSES)
    rows = drawn(sampler, 1)
    assert len(rows) == len(sampler) == len(set(rows)) == 55
    assert set(range(90, 100)) <= set(rows)
    weights = sampler.weights(rows)
    assert set(weights[np.array(rows) < 90]) == {np.float32(2)}
    assert set(weights[np.array(rows) >= 90]) == {np.float32(1)}
    assert rows != drawn(sampler, 2)
    assert sorted(drawn(sampler, 7)) == list(range(100))  # the last eighth is whole


def test_over_draws_the_weighted_gradient_is_that_of_all_examples():
    torch.manual_seed(0)
    x, y = torch.randn(100, 3), torch.randint(0, 2, (100,))
    model = nn.Linear(3, 2)

    def gradient(rows, weights):
        model.zero_grad()
        (nn.functional.cross_entropy(model(x[rows]), y[rows], reduction="none") * weights).sum().backward()
        return model.weight.grad.clone().numpy()

    whole = gradient(torch.arange(100), torch.ones(100))
    found = []
    for seed in range(400):
        weights = Dynamic("infobatch").weights(LOSSES, 1, 8, seed)
        assert weights.sum() == pytest.approx(100)
        rows = torch.from_numpy(np.flatnonzero(weights))
        found.append(gradient(rows, torch.from_numpy(weights).float()[rows]))
    error = np.std(found, axis=0) / 20
    assert (np.abs(np.mean(found, axis=0) - whole) < 4 * error).all()
    masks = [Dynamic("infobatch").weights(LOSSES, 1, 8, seed) > 0 for seed in range(9)]
    unweighted = np.mean([gradient(torch.from_numpy(np.flatnonzero(mask)), 1.0) for mask in masks], axis=0)
    assert (np.abs(unweighted - whole) > 20 * error).any()  # the test can fail


def test_rs2_deals_out_all_before_any_comes_again():
    parts = [random_part(10, 3, epoch, 0) for epoch in range(40)]
    assert all(len(set(part)) == 3 for part in parts)
    counts = np.cumsum([np.isin(np.arange(10), part) for part in parts], axis=0)
    assert (counts.max(axis=1) - counts.min(axis=1) <= 1).all()
    assert len({tuple(sorted(part)) for part in parts}) > 10
    sampler = DynamicSampler(10, 40, Dynamic("rs2", keep=0.3))
    assert [set(drawn(sampler, epoch)) for epoch in range(40)] == [set(part) for part in parts]
    assert sampler.weights([0, 9]).tolist() in ([0, 0], [0, 1], [1, 0], [1, 1])


def test_by_a_score_the_easy_ones_are_those_below_its_mean():
    score = dp.Score("aum", -LOSSES, harder=-1)
    sampler = DynamicSampler(100, 4, Dynamic("score", keep=0.1), score=score)
    assert len(sampler) == 19
    assert set(range(90, 100)) <= set(sampler)
    assert [len(drawn(sampler, epoch)) for epoch in (1, 2, 3)] == [19, 19, 100]


@pytest.mark.parametrize("world", [1, 2, 3])
def test_processes_draw_the_same_and_share_it(world):
    samplers = [DynamicSampler(100, 8, seed=3, shard=(rank, world)) for rank in range(world)]
    for epoch in range(3):
        parts = [drawn(one, epoch) for one in samplers]
        assert len({len(part) for part in parts}) == 1
        assert [len(one) for one in samplers] == [len(part) for part in parts]
        union = set().union(*parts)
        assert sum(map(len, parts)) - len(union) < world  # what is begun again, where it does not divide
        assert union == set(np.flatnonzero(samplers[0].weights(np.arange(100))))
        for one in samplers:  # what the processes gave each other
            one.update(np.arange(100), LOSSES + epoch)


def _measure(rank, port, folder):
    torch.distributed.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    sampler = DynamicSampler(100, 8, shard=(rank, 2))
    rows = list(sampler)
    sampler.update(rows, LOSSES[rows])
    sampler.set_epoch(1)
    np.save(folder / f"{rank}.npy", sampler.weights(np.arange(100)))
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_processes_exchange_their_losses(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    torch.multiprocessing.spawn(_measure, (port, tmp_path), nprocs=2)
    alone = DynamicSampler(100, 8)
    alone.update(np.arange(100), LOSSES)
    alone.set_epoch(1)
    for rank in range(2):
        assert np.array_equal(np.load(tmp_path / f"{rank}.npy"), alone.weights(np.arange(100)))


@pytest.mark.parametrize("method", ["infobatch", "rs2"])
def test_a_state_goes_on_to_the_same_bits_in_the_middle_of_an_epoch(method, tmp_path):
    ids = [f"p{row}" for row in range(100)]
    first, second = (DynamicSampler(ids, 8, method, seed=5) for _ in range(2))
    drawn(first, 1)
    first.update(ids, LOSSES)
    rows = drawn(first, 2)
    first.update(rows[:20], torch.rand(20, dtype=torch.bfloat16))
    torch.save(first.state_dict(), tmp_path / "state.pt")
    second.load_state_dict(torch.load(tmp_path / "state.pt"))
    assert list(second) == rows
    assert drawn(second, 3) == drawn(first, 3)
    with pytest.raises(InputError, match="seed"):
        DynamicSampler(ids, 8, method, seed=6).load_state_dict(first.state_dict())


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # where there is one core
def test_a_loader_with_workers_and_accumulated_gradients():
    torch.manual_seed(0)
    data = TensorDataset(torch.randn(100, 3), torch.randint(0, 2, (100,)), torch.arange(100))
    model, sampler = nn.Linear(3, 2), DynamicSampler(100, 4)
    sampler.update(np.arange(100), LOSSES)
    loader = DataLoader(data, batch_size=11, sampler=sampler, num_workers=2)
    assert len(loader) == 10
    sampler.set_epoch(1)
    assert len(loader) == 5

    def loss(x, y, rows):
        each = nn.functional.cross_entropy(model(x), y, reduction="none")
        sampler.update(rows, each)
        return (each * sampler.weights(rows)).sum()

    seen = []
    for batch in loader:  # one gradient from five batches
        loss(*batch).backward()
        seen += batch[2].tolist()
    assert seen == list(sampler)
    accumulated = model.weight.grad.clone()
    model.zero_grad()
    loss(*data[seen]).backward()
    assert torch.allclose(accumulated, model.weight.grad, atol=1e-5)


def test_no_global_generator_is_read_or_set():
    before = np.random.get_state()[1].copy(), torch.get_rng_state().clone()  # noqa: NPY002
    drawn(DynamicSampler(100, 8, "rs2"), 3)
    assert np.array_equal(before[0], np.random.get_state()[1])  # noqa: NPY002
    assert torch.equal(before[1], torch.get_rng_state())


def test_a_loss_that_is_no_number_keeps_its_example():
    sampler = DynamicSampler(100, 8)
    sampler.update(np.arange(100), np.where(np.arange(100) == 4, np.nan, LOSSES))
    assert all(4 in drawn(sampler, epoch) for epoch in range(1, 6))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: DynamicSampler(4, 8, "info-batch"), "infobatch"),
        (lambda: DynamicSampler(4, 8, Dynamic("rs2", keep=30)), "keep.*30"),
        (lambda: DynamicSampler(4, 8, Dynamic("rs2", whole=2)), "whole.*2"),
        (lambda: DynamicSampler(0, 8), "examples.*0"),
        (lambda: DynamicSampler(4, 0), "epochs.*0"),
        (lambda: DynamicSampler(["a", "a"], 8), "ids.*1 repeat"),
        (lambda: DynamicSampler(4, 8, shard=(2, 2)), "shard.*2, 2"),
        (lambda: DynamicSampler(4, 8, "score"), "score.*method .score."),
        (lambda: DynamicSampler(4, 8, score=np.zeros(4)), "score.*infobatch"),
        (lambda: DynamicSampler(4, 8, "score", score=np.zeros(3)), "score.*4.*3"),
        (lambda: DynamicSampler(4, 8, "score", score=np.full(4, np.nan)), "NaN"),
        (lambda: DynamicSampler(4, 8).set_epoch(8), "epoch.*8"),
        (lambda: DynamicSampler(4, 8).update([0, 4], [1.0, 1.0]), r"0 \.\.\. 3.*4"),
        (lambda: DynamicSampler(4, 8).update([0, 1], 1.0), "reduction"),
        (lambda: DynamicSampler(4, 8).update(["a"], [1.0]), "ids.*'a'"),
        (lambda: DynamicSampler(["a", "b"], 8).weights(["c"]), "'c'"),
        (lambda: DynamicSampler(4, 8).weights([0.5]), "float64"),
    ],
)
def test_what_does_not_fit_is_refused(make, says):
    with pytest.raises(InputError, match=says):
        make()


def test_numbers_are_no_ids_and_a_loss_that_is_no_number_is_kept():
    with pytest.raises(InputError, match=r"`examples` must be their number or ids, which are strings"):
        DynamicSampler(np.array([3, 2, 1, 0]), 4)
    weights = Dynamic("infobatch").weights(np.r_[-np.inf, LOSSES], 1, 8, 0)
    assert weights[0] == 1
