"""The tables: SCORES of what a trace tells, NETWORK_SCORES and FEATURE_SCORES of networks and vectors; ALIASES, other words."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from dataprune.scores import dynamics, ensemble, features, neighbours, networks
from dataprune.scores.dynamics import Values


@dataclass(frozen=True)
class ScoreSpec:
    """A score: how it is computed, which way is harder (+1: larger), its formula in one line, what there must be, and its source.
    `function` is of a `Trace`, called on chunks; of what a member's network tells; or of features, labels and a seed. Every run has
    those that are `usual`, others are computed when they are asked for. `windowed` ones take `window`, a number of epochs; of
    `recorded` ones `score --record` must have been told."""

    function: Callable[..., Values] | None
    harder: int
    formula: str
    needs: str
    source: str
    usual: bool = True
    windowed: bool = False
    recorded: bool = False


_AGARWAL = "Agarwal et al. 2022, arXiv:2008.11600"
_BALDOCK = "Baldock et al. 2021, arXiv:2106.09647"
_CHO = "Cho et al. 2025, arXiv:2502.06905"
_COLEMAN = "Coleman et al. 2020, arXiv:1906.11829"
_FELDMAN = "Feldman and Zhang 2020, arXiv:2008.03703"
_GRIFFIN = "Griffin et al. 2024, arXiv:2411.15349"
_HE = "He et al. 2024, arXiv:2306.05175"
_JIA = "Jia et al. 2019, arXiv:1908.08619"
_KUAN = "Kuan and Mueller 2022, arXiv:2207.03061"
_LEWIS = "Lewis and Gale 1994"
_MAINI = "Maini et al. 2022, arXiv:2210.15031"
_PAUL = "Paul et al. 2021, arXiv:2107.07075"
_PLEISS = "Pleiss et al. 2020, arXiv:2001.10528"
_SCHEFFER = "Scheffer et al. 2001"
_SEEDAT = "Seedat et al. 2022, arXiv:2210.13043"
_SORSCHER = "Sorscher et al. 2022, arXiv:2206.14486"
_SWAYAMDIPTA = "Swayamdipta et al. 2020, arXiv:2009.10795"
_TONEVA = "Toneva et al. 2019, arXiv:1812.05159"
_ZHANG = "Zhang et al. 2024, arXiv:2311.13613"
_ZHENG = "Zheng et al. 2023, arXiv:2210.15809"
_ZHU = "Zhu et al. 2022, arXiv:2110.06283 (SimiFeat)"
_OURS = "the report on CIFAR and vegetables, 2023"
_EL2N = "mean over members, and mirror images where all answered them, of ‖p − onehot(label)‖₂, last epoch"
_GRAND = "mean over members of ‖p − onehot(label)‖₂ · √(‖h‖² + 1), last epoch"

_WINDOWS = "windows of 10 epochs, or of all where there are fewer,"
_BOTH = "for each example, members of both kinds"
_SECOND = "`--record second_split`, and folds"
_ROWS = "features without a row of zeros"
_DIRECTIONS = f"{_ROWS}, no labels"
_asked = partial(ScoreSpec, usual=False)
_early = partial(_asked, windowed=True)

SCORES: dict[str, ScoreSpec] = {
    "el2n": ScoreSpec(ensemble.el2n, 1, _EL2N, "a trace", _PAUL),
    "std": ScoreSpec(ensemble.std, 1, "Σ over classes of the std of p over members, last epoch", "two members", _OURS),
    "pred_sum": ScoreSpec(ensemble.pred_sum, -1, "members that predict the label, last epoch", "a trace", _OURS),
    "flip": ScoreSpec(dynamics.flip, 1, "changes of the predicted class between epochs, mean over members", "two epochs", _OURS),
    "forget": ScoreSpec(dynamics.forget, 1, "right, then wrong; never learned counts 0; mean over members", "two epochs", _TONEVA),
    "forget_toneva": ScoreSpec(
        dynamics.forget_toneva, 1, "right, then wrong; never learned counts T; mean over members", "two epochs", _TONEVA
    ),
    "confidence": ScoreSpec(dynamics.confidence, -1, "mean of p(label) over epochs and members", "a trace", _SWAYAMDIPTA),
    "variability": ScoreSpec(dynamics.variability, 1, "std of p(label) over epochs, mean over members", "two epochs", _SWAYAMDIPTA),
    "correctness": ScoreSpec(dynamics.correctness, -1, "share of epochs with the label predicted", "a trace", _SWAYAMDIPTA),
    "aum": ScoreSpec(dynamics.aum, -1, "mean over epochs and members of logit(label) − best other", "a trace", _PLEISS),
    "grand": ScoreSpec(ensemble.grand, 1, _GRAND, "the last layer's inputs", _PAUL),
    "entropy": ScoreSpec(ensemble.entropy, 1, "mean over members of −Σ p log p, last epoch", "a trace", _COLEMAN),
    "dual": _early(dynamics.dual, 1, f"mean over {_WINDOWS} of (1 − mean of p(label)) · its std", "two epochs", _CHO, usual=True),
    "dyn_unc": _early(dynamics.dyn_unc, 1, f"mean over {_WINDOWS} of the std of p(label)", "two epochs", _HE),
    "tdds": _early(dynamics.tdds, 1, f"how unsteady Σ p |log p − log p before| is in {_WINDOWS}", "three epochs", _ZHANG),
    "el2n_sum": _early(dynamics.el2n_sum, 1, "Σ of el2n over the first 10 epochs, or all of fewer", "a trace", _ZHENG),
    "aleatoric": _asked(dynamics.aleatoric, 1, "mean of p(label) · (1 − p(label)) over epochs and members", "a trace", _SEEDAT),
    "loss_mean": _asked(dynamics.loss_mean, 1, "mean of −log p(label) over epochs and members", "a trace", ""),
    "first_learned": _asked(dynamics.first_learned, 1, "first epoch with the label predicted, T + 1 if never", "a trace", _TONEVA),
    "memorization": _asked(ensemble.memorization, 1, "p(label) by members that saw the example − by others", _BOTH, _FELDMAN),
    "least_confidence": _asked(ensemble.least_confidence, 1, "1 − the largest p, last epoch", "a trace's last epoch", _LEWIS),
    "top_two_margin": _asked(
        ensemble.top_two_margin, -1, "the largest p − the second, last epoch", "a trace's last epoch", _SCHEFFER
    ),
    "second_split": _asked(
        ensemble.second_split, -1, "epoch of a second training from which on y is never named again", _SECOND, _MAINI, recorded=True
    ),
}
"""Direction, needs and source of each score stand here, not at its function. Of members the mean, if nothing is said."""

NETWORK_SCORES: dict[str, ScoreSpec] = {
    "prediction_depth": _asked(
        lambda net, y: networks.prediction_depth(net.layers(), net.predicted, y, net.trained_on),
        1,
        "first layer from which on the 30 nearest name what the network does",
        "networks with hidden layers, and the data",
        _BALDOCK,
    ),
    "vog": _asked(
        lambda net, y: networks.vog(net.gradients(), y),
        1,
        "std over epochs of the gradient of y's logit by the input, by class",
        "`--record vog`, networks with hidden layers, and the data",
        _AGARWAL,
        recorded=True,
    ),
}
"""Scores of the networks themselves, computed from a run's weights and its data where they are asked for; the mean over members."""

FEATURE_SCORES: dict[str, ScoreSpec] = {
    "km": _asked(None, 1, "Euclidean distance to the nearest centre of k-means", "features, no labels", f"after {_SORSCHER}"),
    "km_cosine": _asked(None, 1, "1 − cosine to the nearest centre of k-means on unit vectors", _DIRECTIONS, _SORSCHER),
    "prototype_distance": _asked(None, 1, "Euclidean distance to the mean of the class", "features", _SORSCHER),
    "knn_agreement": _asked(
        lambda x, y, _: neighbours.knn_scores(x, y)[0], -1, "share of the 10 nearest by cosine that have the label", _ROWS, _ZHU
    ),
    "outlier_distance": _asked(
        lambda x, y, _: neighbours.knn_scores(x, y)[1], 1, "mean of 1 − cosine to the 10 nearest neighbours", _DIRECTIONS, _KUAN
    ),
    "knn_shapley": _asked(
        lambda x, y, _: neighbours.knn_shapley(x, y),
        -1,
        "Shapley value for classifying all others by their 10 nearest",
        _ROWS,
        _JIA,
    ),
    "zcore": _asked(
        lambda x, _, seed: features.zcore(x, seed=seed),
        1,
        "times nearest to a random point, less blame",
        "features, no labels",
        _GRIFFIN,
    ),
}
"""Scores of feature vectors, of them, labels and a seed; without a function those that are computed with a run's clusters."""

ALIASES = {
    "accumulated_margin": "aum",
    "ambiguity": "variability",
    "area_under_the_margin": "aum",
    "cartography": "variability",
    "data_iq": "aleatoric",
    "depth": "prediction_depth",
    "data_shapley": "knn_shapley",
    "dynamic_uncertainty": "dyn_unc",
    "forgetting": "forget_toneva",
    "forgetting_events": "forget",
    "gradient_norm": "grand",
    "loss": "loss_mean",
    "margin": "top_two_margin",
    "mean_loss": "loss_mean",
    "memorisation": "memorization",
    "moderate": "median_distance",
    "outlier": "outlier_distance",
    "second_split_forgetting": "second_split",
    "self_supervised_prototypes": "km_cosine",
    "simifeat": "knn_agreement",
    "ssft": "second_split",
    "true_prediction_sum": "pred_sum",
    "variance_of_gradients": "vog",
}
"""What scores are also called: word → the name of ours. Hyphens and capitals do not matter."""


def canonical(name: str) -> str:
    """Return our name of a score that goes by several; another name is given back as it is."""
    plain = name.lower().replace("-", "_").replace(" ", "_")
    plain = ALIASES.get(plain, plain)
    return plain if plain in {*SCORES, *NETWORK_SCORES, *FEATURE_SCORES, *ALIASES.values()} else name
