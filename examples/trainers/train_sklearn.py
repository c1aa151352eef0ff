"""A function as a trainer: it is given what a script would be, and returns the result.

PYTHONPATH=examples/trainers dataprune study digits --trainer train_sklearn:train --metric f1:higher:0:1 --out study
"""

import dataprune as dp


def train(request: dp.TrainingRequest) -> dict[str, object]:
    """Fit a forest to the digits that are named, and judge it by F1, the mean over classes."""
    from sklearn.datasets import load_digits
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.metrics import f1_score

    x, y = load_digits(return_X_y=True)
    kept, test = ([int(one) for one in ids] for ids in (request.ids, request.test))
    model = RandomForestClassifier(50, random_state=request.seed).fit(x[kept], y[kept])
    predicted = model.predict(x[test])
    return {"f1": f1_score(y[test], predicted, average="macro"), "correct": (predicted == y[test]).tolist()}
