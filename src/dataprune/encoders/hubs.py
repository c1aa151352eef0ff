"""Models of other libraries are loaded: what is not installed, not reached or not understood is one line, and soon."""

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib import import_module
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from dataprune.errors import DatapruneError, InputError, MachineError, one_line

ANSWER_SECONDS = 4.0  # within which a hub answers; else only what is in the cache is looked for
GITHUB, HUGGING_FACE = "https://github.com", "https://huggingface.co"


@contextmanager
def loading(name: str, cure: str = "") -> Iterator[None]:
    """Say in one line why the encoder of a name does not load: MachineError where something is not installed or the hub not
    reached, InputError for all else. Where its hub does not answer, keep its library from trying on."""
    kind, _, rest = name.partition(":")
    hub = GITHUB if kind == "torchhub" else os.environ.get("HF_ENDPOINT", HUGGING_FACE)
    place = rest.rpartition(":")[0] if kind == "torchhub" else rest
    is_local = kind == "onnx" or not place or place.startswith(("/", ".")) or Path(place).is_dir()
    is_reached = is_local or _answers(hub)
    try:
        with ExitStack() as stack:
            if not is_reached:
                _stay_here(stack)
            yield
    except ModuleNotFoundError as error:
        cure = cure or f"Install it: pip install {str(error.name).partition('.')[0].replace('_', '-')}"
        raise MachineError(f"encoder {name!r} needs {error.name}, which is not installed. {cure}") from None
    except DatapruneError:
        raise
    except Exception as error:  # noqa: BLE001 another library may raise anything
        if not is_reached:
            raise MachineError(f"encoder {name!r} is not in the cache, and {hub} does not answer. Name a folder.") from None
        raise InputError(f"encoder {name!r} cannot be loaded: {one_line(error)}.") from None


def _answers(hub: str) -> bool:
    try:
        urlopen(Request(hub, method="HEAD"), timeout=ANSWER_SECONDS).close()
    except HTTPError:
        return True
    except (OSError, ValueError):
        return False
    return True


def _stay_here(stack: ExitStack) -> None:
    """Have libraries look into their caches only, until the stack is closed."""
    stack.callback(socket.setdefaulttimeout, socket.getdefaulttimeout())
    socket.setdefaulttimeout(1.0)
    with suppress(ModuleNotFoundError):
        constants = vars(import_module("huggingface_hub.constants"))
        stack.callback(constants.update, HF_HUB_OFFLINE=constants["HF_HUB_OFFLINE"])
        constants["HF_HUB_OFFLINE"] = True
