"""Which Ray cluster is this process connected to, and how: one that is there, or one that is started for it and ended with it?"""

import contextlib
import logging
import os
import secrets
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from typing import Any

from dataprune.errors import MachineError, invalid
from dataprune.workers.cores import default_workers

KNOCK_SECONDS = 10.0
# Workers as nice as this process, like those of `processes`; no word to anyone outside; no warning about tasks without a GPU.
ENVIRONMENT = {"RAY_worker_niceness": "0", "RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
AUTH_MODE, AUTH_TOKEN = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN"


@contextlib.contextmanager
def connected(address: str | None, workers: int | None) -> Iterator[Any]:
    """Yield the module `ray`, connected: as the caller's program is already, else to `address`, else to a cluster of its own.

    Raises:
        MachineError: Ray is not installed, or no cluster is to be reached.
    """
    try:
        import ray
    except ImportError:
        raise MachineError("Ray is not installed. Install it: pip install 'dataprune[ray]'") from None
    if ray.is_initialized():
        yield ray
        return
    with contextlib.ExitStack() as stack:
        stack.enter_context(environment(ray, ENVIRONMENT | (_own_token() if address is None else {})))
        handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
        if address is None:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="dp-", ignore_cleanup_errors=True, dir=_short_folder()))
            options |= {"address": "local", "num_cpus": workers or default_workers(), "_temp_dir": folder}
            options["include_dashboard"] = False
        else:
            _knock(address)
            _agree_on_tokens(ray, address)
            options["address"] = address
        try:
            ray.init(**options)
        except Exception as error:  # ConnectionError, RuntimeError (another version), ValueError (no address): Ray has no one class
            raise _unreachable(address, error) from error
        stack.callback(silently, ray.shutdown)
        stack.enter_context(_without_notices(ray))
        if threading.current_thread() is threading.main_thread():
            for number, handler in handlers.items():  # Ray puts its own in place
                signal.signal(number, handler)
        yield ray


@contextlib.contextmanager
def environment(ray: Any, values: dict[str, str]) -> Iterator[None]:
    """Set variables of Ray, and put all of Ray's back afterwards, also those that it sets itself."""
    before = {name: value for name, value in os.environ.items() if name.startswith("RAY_")}
    os.environ.update(values)
    _settings_anew(ray)
    try:
        yield
    finally:
        for name in [name for name in os.environ if name.startswith("RAY_")]:
            del os.environ[name]
        os.environ.update(before)
        _settings_anew(ray)


def silently(function: Callable[..., Any], *arguments: Any, **options: Any) -> None:
    with contextlib.suppress(Exception):
        function(*arguments, **options)


def _own_token() -> dict[str, str]:
    """Make the token of a cluster of our own, for it alone: Ray would write one into the user's home folder."""
    return {} if AUTH_MODE in os.environ else {AUTH_MODE: "token", AUTH_TOKEN: secrets.token_hex(32)}


def _settings_anew(ray: Any) -> None:
    """Have Ray read its settings from the environment again.

    It keeps those of the first cluster of a process. A process that goes on asking for a token refuses all that comes from the
    workers of a cluster without one, and waits for it without end.
    """
    with contextlib.suppress(AttributeError):  # a Ray without tokens
        ray._raylet.Config.initialize("")
        ray._raylet.AuthenticationTokenLoader.instance().reset_cache()


def _agree_on_tokens(ray: Any, address: str) -> None:
    """Show a token where the cluster asks for one, and ask for none where it has none, whatever Ray would do by itself.

    Given an address Ray shows none, though a head started on this machine asks for the one in the user's home folder.
    """
    wanted = os.environ.get(AUTH_MODE)
    if address == "auto" or wanted not in (None, "token", "disabled"):
        return
    os.environ[AUTH_MODE] = "disabled"
    _settings_anew(ray)
    if _lets_in(ray, address):
        if wanted == "token":
            cure = f"Unset {AUTH_MODE}, or start the cluster with it."
            raise MachineError(f"the Ray cluster at {address!r} has no token, and {AUTH_MODE} asks for one. {cure}")
        return
    os.environ[AUTH_MODE] = "token"
    _settings_anew(ray)
    # Asked for a token that is nowhere, Ray would end this process.
    if not ray._raylet.AuthenticationTokenLoader.instance().has_token(ignore_auth_mode=True) or not _lets_in(ray, address):
        cure = f"Put its own into {AUTH_TOKEN}, or into ~/.ray/auth_token: `ray get-auth-token` shows it there"
        raise MachineError(f"the Ray cluster at {address!r} asks for a token, and does not take what is found here. {cure}.")


def _lets_in(ray: Any, address: str) -> bool:
    """Return whether the cluster answers this process as it stands; where that cannot be told, yes."""
    with _no_stderr():
        try:
            ray._raylet.GcsClient(address=address)
        except Exception as error:  # noqa: BLE001 what else there is, `ray.init` will say
            return type(error).__name__ != "AuthenticationError"  # by its name: not every Ray has it
    return True


@contextlib.contextmanager
def _no_stderr() -> Iterator[None]:
    """Keep off stderr what Ray writes there past Python."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


@contextlib.contextmanager
def _without_notices(ray: Any) -> Iterator[None]:
    """Keep Ray's words about dead workers off our stdout: they are said in the outcomes. Ray has no public switch for it."""
    module = ray._private.worker
    before = getattr(module, "_worker_logs_enabled", True)
    module._worker_logs_enabled = False
    try:
        yield
    finally:
        module._worker_logs_enabled = before


def _knock(address: str) -> None:
    """Refuse an address where nobody listens, which Ray itself would try for minutes."""
    host, colon, port = address.rpartition(":")
    if address == "auto":
        return
    if not colon or not host or not port.isdigit() or "/" in host:
        raise invalid("address", "be auto or HOST:PORT", repr(address), "It is what ray start --head printed.")
    try:
        socket.create_connection((host, int(port)), KNOCK_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise _unreachable(address, error) from error


def _unreachable(address: str | None, error: Exception) -> MachineError:
    said = _in_a_line(error)
    if address is None:
        return MachineError(f"cannot start Ray on this machine: {said}. Or use --executor processes.")
    cure = "Start one there with `ray start --head`, or leave --address out for a cluster on this machine"
    return MachineError(f"cannot reach a Ray cluster at {address!r}: {said}. {cure}.")


def _in_a_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:200].rstrip('.')}" if lines else type(error).__name__


def _short_folder() -> str:
    """Return the temporary folder, or /tmp where its name is too long for the sockets that Ray makes in it."""
    return tempfile.gettempdir() if len(tempfile.gettempdir()) < 20 else "/tmp"
