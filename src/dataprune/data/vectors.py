"""Vectors of texts and rows without a download: fitted on train by scikit-learn, without labels."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Float32

from dataprune import store
from dataprune.data.dataset import EncoderRecord, Records
from dataprune.data.pack import cache_root, kept
from dataprune.errors import invalid
from dataprune.streams import generator

COMPONENTS = 256  # of texts; docs/log.md has figures of more
MOST_TERMS = 2**17  # of each kind
FEWEST_TEXTS = 200  # below which terms that stand in one text only are kept
MOST_CATEGORIES = 50  # of a column; rarer ones count as one
RARE = 0.005  # of the rows
SEED = 0
WORDS = f"TF-IDF of 1 to 2 words and of 3 to 5 letters of a word, {COMPONENTS} singular vectors turned at random, seed {SEED}"
ROWS = f"standardised numbers and dates, median for missing ones, {MOST_CATEGORIES} categories a column"


def vectors_of(train: Records, own: Records) -> tuple[Float32[np.ndarray, "examples features"], EncoderRecord]:
    """Return the vectors of a split's records, by what was fitted on those of train, and how they were made. Those of texts are
    kept in the cache. Records that differ in nothing that a vector could tell are an InputError."""
    name, said = ("words", WORDS) if train.kind == "texts" else ("columns", ROWS)
    record = EncoderRecord(name, train.digest, None, said)
    if train.kind == "rows":
        return _fitted(train)(own), record
    folder = cache_root()[0] / "vectors" / store.json_digest([said, train.digest, own.digest])
    return kept(folder, lambda: _fitted(train)(own)), record


@lru_cache(maxsize=1)
def _fitted(train: Records) -> Callable[[Records], Float32[np.ndarray, "examples features"]]:
    return _words(train) if train.kind == "texts" else _cells(train)


def _words(train: Records) -> Callable[[Records], np.ndarray]:
    """Fit terms of words and letters, which any script has, and their most telling directions."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline, make_union

    usual: dict[str, Any] = {"sublinear_tf": True, "max_features": MOST_TERMS, "dtype": np.float32}
    usual["min_df"] = 2 if len(train) >= FEWEST_TEXTS else 1
    terms = make_union(
        TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"\w+|[^\w\s]", **usual),
        TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), **usual),
    )
    texts = next(iter(train.columns.values())).tolist()
    try:
        found = terms.fit_transform(texts)
    except ValueError:  # no term at all
        raise invalid("texts", "share words or parts of words", f"none in {len(texts):,} texts") from None
    width = min(COMPONENTS, min(found.shape) - 1)
    if width < 1 or len(set(texts)) < 2:
        raise invalid("texts", "be several, of several words", f"{len(set(texts)):,} different of {found.shape[1]:,} terms")
    with np.errstate(invalid="ignore"):  # where all hold the same terms, the variance by which it divides is 0
        directions = TruncatedSVD(width, n_iter=4, random_state=SEED).fit(found)
    # Turned at random, all columns spread alike: a network that scales each by its spread does not enlarge the least telling ones.
    turn = np.linalg.qr(generator(SEED, "words").normal(size=(width, width)))[0].astype(np.float32)
    fitted = make_pipeline(terms, directions)
    return lambda own: np.asarray(fitted.transform(next(iter(own.columns.values())).tolist()) @ turn, np.float32)


def _cells(train: Records) -> Callable[[Records], np.ndarray]:
    """Fit what makes numbers of columns: numbers and dates standardised, categories as one of many, missing ones known as such."""
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    kinds = {name: kind_of(column) for name, column in train.columns.items()}
    numbers = [at for at, kind in enumerate(kinds.values()) if kind in ("numbers", "dates")]
    categories = [at for at, kind in enumerate(kinds.values()) if kind == "categories"]
    few = {"max_categories": MOST_CATEGORIES, "min_frequency": max(2, int(RARE * len(train)))}
    one_hot = OneHotEncoder(handle_unknown="infrequent_if_exist", sparse_output=False, **few)
    scaled = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    both = ColumnTransformer([("numbers", scaled, numbers), ("categories", one_hot, categories)])

    def matrix(records: Records) -> np.ndarray:
        return np.stack([_numbers(column, kinds[name]).astype(object) for name, column in records.columns.items()], axis=1)

    made = np.asarray(both.fit_transform(matrix(train)), np.float32)
    if not made.shape[1] or not np.ptp(made, axis=0).any():
        raise invalid("table", "have columns that differ between rows", f"only constant ones: {', '.join(train.columns)}")
    return lambda own: np.asarray(both.transform(matrix(own)), np.float32)


def kind_of(column: np.ndarray) -> str:
    """Return what a column holds: numbers, dates (ISO 8601), categories, or nothing."""
    if column.dtype != object:
        return "numbers" if np.isfinite(column.astype(np.float64)).any() else "nothing"
    filled = [cell for cell in column.tolist() if cell]
    return "nothing" if not filled else "dates" if all(_day(cell) is not None for cell in filled) else "categories"


def _numbers(column: np.ndarray, kind: str) -> np.ndarray:
    if kind == "dates":
        return np.array([np.nan if (day := _day(cell)) is None else day for cell in column.tolist()])
    if column.dtype == object:
        return column
    values = column.astype(np.float64)
    return np.where(np.isfinite(values), values, np.nan)


def _day(cell: str) -> float | None:
    """Return a date as days since 1970."""
    try:
        moment = datetime.fromisoformat(cell.strip())
    except (ValueError, AttributeError):
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() / 86400
