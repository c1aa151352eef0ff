"""Which examples of a training set are hard, and which part of it is worth training on.

    import dataprune as dp

    run = dp.score(dp.read("flowers/train"), out="run")
    kept = dp.select(run.scores["el2n"], keep=0.7)

The public names stand in `__init__.pyi`, one a line. Each is imported when it is first used, so `import dataprune` itself is quick.
"""

with open(__file__ + "i", encoding="utf-8") as _stub:  # noqa: PTH123 pathlib takes longer than all the rest
    _ROOM_OF = {line.split()[-1]: line.split()[1] for line in _stub if line.startswith("from ")}

__all__ = ["__version__", *_ROOM_OF]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'dataprune' has no attribute {name!r}")
    if name == "__version__":
        from importlib.metadata import version

        found: object = version("dataprune")
    else:
        from importlib import import_module

        found = getattr(import_module(_ROOM_OF[name], "dataprune"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return __all__
