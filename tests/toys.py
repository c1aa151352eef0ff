"""A tiny trace with every answer worked out by hand, and random traces for independent routes.

Two members, three epochs, four examples, three classes. Probabilities are round numbers and the logits are their logarithms.
"""

import numpy as np

LABELS = np.array([0, 1, 2, 0])
N_MEMBERS, N_EPOCHS, N_EXAMPLES, N_CLASSES = 2, 3, 4, 3

# (members, epochs, examples, classes)
PROBABILITIES = np.array(
    [
        [
            [[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.7, 0.2, 0.1], [0.3, 0.6, 0.1]],
            [[0.8, 0.1, 0.1], [0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.5, 0.4, 0.1]],
            [[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.6, 0.2, 0.2], [0.9, 0.05, 0.05]],
        ],
        [
            [[0.6, 0.3, 0.1], [0.6, 0.3, 0.1], [0.5, 0.3, 0.2], [0.7, 0.2, 0.1]],
            [[0.6, 0.3, 0.1], [0.2, 0.6, 0.2], [0.4, 0.35, 0.25], [0.8, 0.1, 0.1]],
            [[0.6, 0.3, 0.1], [0.5, 0.3, 0.2], [0.1, 0.2, 0.7], [0.9, 0.05, 0.05]],
        ],
    ]
)
# Which member was trained on which example: example 0 by both, 1 and 3 by the first, 2 by the second.
TRAINED_ON = np.array([[True, True, False, True], [True, False, True, False]])
# Last layer's inputs, the same at each epoch: squared norms 0, 3, 8, 15, and with the bias 1, 4, 9, 16.
FEATURES = np.array([[0.0, 0.0], [3**0.5, 0.0], [2.0, 2.0], [0.0, 15**0.5]])

_ROOT = np.sqrt
_LOG = np.log
EL2N = np.array(
    [
        (_ROOT(0.06) + _ROOT(0.26)) / 2,
        (_ROOT(0.06) + _ROOT(0.78)) / 2,
        (_ROOT(1.04) + _ROOT(0.14)) / 2,
        _ROOT(0.015),
    ]
)
# Σ p |log p − log p before| after the second and the third epoch.
CHANGES = (PROBABILITIES[:, 1:] * np.abs(np.diff(np.log(PROBABILITIES), axis=1))).sum(axis=3)
ANSWERS = {
    "el2n": EL2N,
    # Two members: the unbiased standard deviation is |difference| / sqrt(2).
    "std": np.array([0.4, 1.0, 1.0, 0.0]) / _ROOT(2),
    "pred_sum": np.array([2.0, 1.0, 1.0, 2.0]),
    "flip": np.array([0.0, 2.0, 1.5, 0.5]),
    "forget": np.array([0.0, 1.0, 0.0, 0.0]),
    # The first member never learns example 2: it counts 3 there.
    "forget_toneva": np.array([0.0, 1.0, 1.5, 0.0]),
    "confidence": np.array([0.7, 0.5, 1.55 / 6, 4.1 / 6]),
    # Example 0 does not move; 1: deviations (.1, -.3, .2) and (-.1, .2, -.1); 2 and 3 likewise.
    "variability": np.array(
        [
            0.0,
            (_ROOT(0.14 / 3) + _ROOT(0.06 / 3)) / 2,
            np.mean([np.std([0.1, 0.1, 0.2]), np.std([0.2, 0.25, 0.7])]),
            np.mean([np.std([0.3, 0.5, 0.9]), np.std([0.7, 0.8, 0.9])]),
        ]
    ),
    "correctness": np.array([1.0, 0.5, 1 / 6, 5 / 6]),
    "aum": np.array(
        [
            (_LOG(8) + _LOG(2)) / 2,
            (_LOG(7 / 2) + _LOG(1 / 2) + _LOG(8) + _LOG(1 / 2) + _LOG(3) + _LOG(3 / 5)) / 6,
            (_LOG(1 / 7) + _LOG(1 / 7) + _LOG(1 / 3) + _LOG(2 / 5) + _LOG(5 / 8) + _LOG(7 / 2)) / 6,
            (_LOG(1 / 2) + _LOG(5 / 4) + _LOG(18) + _LOG(7 / 2) + _LOG(8) + _LOG(18)) / 6,
        ]
    ),
    "grand": EL2N * np.array([1.0, 2.0, 3.0, 4.0]),
    "entropy": np.array(
        [
            -(0.8 * _LOG(0.8) + 0.2 * _LOG(0.1) + 0.6 * _LOG(0.6) + 0.3 * _LOG(0.3) + 0.1 * _LOG(0.1)) / 2,
            -(0.8 * _LOG(0.8) + 0.2 * _LOG(0.1) + 0.5 * _LOG(0.5) + 0.3 * _LOG(0.3) + 0.2 * _LOG(0.2)) / 2,
            -(0.6 * _LOG(0.6) + 0.4 * _LOG(0.2) + 0.1 * _LOG(0.1) + 0.2 * _LOG(0.2) + 0.7 * _LOG(0.7)) / 2,
            -(0.9 * _LOG(0.9) + 0.1 * _LOG(0.05)),
        ]
    ),
    # One window of all three epochs: unbiased standard deviations, and these times 1 − mean.
    "dyn_unc": np.array(
        [
            0.0,
            (_ROOT(0.14 / 2) + _ROOT(0.06 / 2)) / 2,
            np.mean([np.std([0.1, 0.1, 0.2], ddof=1), np.std([0.2, 0.25, 0.7], ddof=1)]),
            np.mean([np.std([0.3, 0.5, 0.9], ddof=1), np.std([0.7, 0.8, 0.9], ddof=1)]),
        ]
    ),
    "dual": np.array(
        [
            0.0,
            (0.4 * _ROOT(0.14 / 2) + 0.6 * _ROOT(0.06 / 2)) / 2,
            np.mean([(1 - 0.4 / 3) * np.std([0.1, 0.1, 0.2], ddof=1), (1 - 1.15 / 3) * np.std([0.2, 0.25, 0.7], ddof=1)]),
            np.mean([(1 - 1.7 / 3) * np.std([0.3, 0.5, 0.9], ddof=1), 0.2 * np.std([0.7, 0.8, 0.9], ddof=1)]),
        ]
    ),
    # Two changes lie |difference| / sqrt(2) from their mean, as a norm.
    "tdds": 0.9 / _ROOT(2) * np.abs(np.diff(CHANGES, axis=1)[:, 0]).mean(axis=0),
    "el2n_sum": _ROOT(np.square(PROBABILITIES - np.eye(3)[LABELS]).sum(axis=3)).sum(axis=1).mean(axis=0),
    "aleatoric": np.array([0.2, 1.24 / 6, 0.8975 / 6, 1.01 / 6]),
    "loss_mean": -np.array(
        [_LOG(0.48) / 2, _LOG(0.7 * 0.3 * 0.8 * 0.3 * 0.6 * 0.3) / 6, _LOG(0.002 * 0.035) / 6, _LOG(0.135 * 0.504) / 6]
    ),
    "first_learned": np.array([1.0, 1.5, 3.5, 1.5]),
    "least_confidence": np.array([0.3, 0.35, 0.35, 0.1]),
    "top_two_margin": np.array([0.5, 0.45, 0.45, 0.85]),
}


def record(logits, labels, *, trained_on=None, features=None, seed=0, when="clean", batches=2):
    """Record one member from logits (T, N, K), each epoch in an order of its own."""
    from dataprune.trace import Recorder

    n_epochs, n_examples, n_classes = logits.shape
    recorder = Recorder(labels, n_classes, n_epochs, trained_on=trained_on, when=when, seed=seed)
    for epoch in range(n_epochs):
        order = np.random.default_rng(epoch).permutation(n_examples)
        for rows in np.array_split(order, min(batches, n_examples)):
            recorder.update(rows, logits[epoch, rows], epoch, None if features is None else features[rows])
    return recorder.finish()


def toy_member(member=0):
    """Return one member of the toy trace."""
    return record(np.log(PROBABILITIES[member]), LABELS, trained_on=TRAINED_ON[member], features=FEATURES, seed=member)


def toy_trace():
    """Return the toy trace."""
    from dataprune.trace import Trace

    return Trace([toy_member(0), toy_member(1)], LABELS)


def random_logits(seed=0, members=3, epochs=4, examples=20, classes=5):
    """Return labels (N,) and logits (E, T, N, K) that grow towards the labels, like in a training."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, classes, examples)
    logits = draw.normal(size=(members, epochs, examples, classes)) * 2
    logits += np.eye(classes)[labels] * np.linspace(0, 3, epochs)[:, None, None]
    return labels, logits


def trace_of(labels, logits, **options):
    """Record logits (E, T, N, K) as a trace."""
    from dataprune.trace import Trace

    return Trace([record(member, labels, **options) for member in logits], labels)
