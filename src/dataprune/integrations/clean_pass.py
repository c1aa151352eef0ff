"""What the callbacks share: a pass over the clean training set after each epoch, which changes nothing in the training."""

import inspect
import logging
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, SequentialSampler

from dataprune.errors import InputError, check_type, invalid
from dataprune.trace import Recorder
from dataprune.trace.member import MemberTrace

_log = logging.getLogger(__name__)

SHARDED = ("ds_id", "_is_flat_param", "_local_tensor")  # marks of parameters by DeepSpeed, and by FSDP of either kind
WHOLE: AbstractContextManager[Any] = nullcontext()


class CleanPass:
    """Fills a recorder from passes over a clean training set, in the first process of a training; the others wait for it.

    The training keeps its bits: global generators, and whether each module trains, are put back. What fails is logged once and ends
    the recording, not the training; `finish` then marks the trace as incomplete.

    Args:
        recorder: a new one, of the labels of `clean_set` in its order; without `epochs`, it takes as many as come.
        clean_set: the training set without augmentation, or a `DataLoader` of it; always in the same order.
        batch: examples at once.
        collate: makes a batch of items, as that of a `DataLoader`.
        logits: a function of the model and a batch on its device. By default the model gets the entries of a mapping that it takes,
            else the first of a list, and gives logits, or names them so.
    """

    def __init__(
        self,
        recorder: Recorder,
        clean_set: Any,
        *,
        batch: int = 256,
        collate: Callable[[Any], Any] | None = None,
        logits: Callable[[torch.nn.Module, Any], torch.Tensor] | None = None,
    ) -> None:
        check_type("recorder", recorder, Recorder, "Make one: Recorder(labels, n_classes).")
        of = clean_set.dataset if isinstance(clean_set, DataLoader) else clean_set
        if isinstance(clean_set, DataLoader) and not isinstance(of, IterableDataset):
            sampler = getattr(clean_set.batch_sampler, "sampler", clean_set.sampler)
            if not isinstance(sampler, SequentialSampler):
                cure = "Give it with shuffle=False, or the data set itself."
                raise invalid("clean_set", "come in the order of the labels", f"a DataLoader by {type(sampler).__name__}", cure)
        if hasattr(of, "__len__") and len(of) != len(recorder):
            raise invalid("clean_set", f"have an item for each of {len(recorder)} labels", len(of))
        self.recorder, self.incomplete = recorder, ""
        self._clean_set, self._batch, self._collate, self._logits = clean_set, batch, collate, logits or _logits
        self._records, self._step, self._is_restored = True, -1, False

    def finish(self) -> MemberTrace:
        """Return the trace of the epochs that were recorded whole; none at all is an error, also in all processes but the first."""
        if not self.recorder.n_recorded:
            raise InputError(f"nothing was recorded: {self.incomplete or 'no epoch has ended in this process'}.")
        member = self.recorder.finish()
        return replace(member, info={**member.info, "incomplete": self.incomplete}) if self.incomplete else member

    def state_dict(self) -> dict[str, Any]:
        return {"recorder": self.recorder.state(), "incomplete": self.incomplete, "step": self._step}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        self.recorder.restore(state_dict["recorder"])
        self.incomplete, self._step, self._is_restored = state_dict["incomplete"], state_dict["step"], True

    def begin(self, n_ended: int, step: int, is_between: bool, model: torch.nn.Module, around: Any = WHOLE) -> None:
        """Say how many epochs had ended where training begins: none, or those of a checkpoint. Where `is_between` says that no
        other has begun since, the last one is recorded now, if it is not yet."""
        if self.recorder.n_recorded and not self._is_restored:
            raise invalid("recorder", "be a new one", f"one with {self.recorder.n_recorded} epochs", "Make one for each training.")
        if n_ended > is_between and not self._is_restored:
            self._says(f"the first {n_ended} epochs are not in it: the checkpoint has no record of them")
        elif n_ended and is_between:
            self.epoch_ended(step, model, around)

    def epoch_ended(self, step: int, model: torch.nn.Module, around: Any = WHOLE) -> None:
        """Record what an epoch, or part of one, has made of the model: once for each `step` of the optimiser, inside `around`."""
        if self._records and step != self._step:
            with self.safely(f"the pass after epoch {self.recorder.n_recorded + 1}"):
                if any(hasattr(one, mark) for one in model.parameters() for mark in SHARDED):
                    raise invalid("model", "be whole in each process", "parameters in shards")
                with torch.no_grad(), _undisturbed(model), around:
                    self._look(model)
                self._step = step

    @contextmanager
    def safely(self, what: str) -> Iterator[None]:
        """Let no failure out of the block: it ends the recording."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 whatever it is, the training goes on
            self._records = False
            self._says(f"{what} failed: {' '.join(str(error).split())[:300]}")

    def _says(self, incomplete: str) -> None:
        self.incomplete = incomplete
        _log.warning("the trace is incomplete: %s", incomplete)

    def _look(self, model: torch.nn.Module) -> None:
        epoch, start, parameter, loader = self.recorder.n_recorded, 0, next(model.parameters()), self._clean_set
        if not isinstance(loader, DataLoader):
            loader = DataLoader(loader, self._batch, collate_fn=self._collate)
        for batch in loader:
            found = self._logits(model, _moved(batch, parameter))
            if not isinstance(found, torch.Tensor):
                raise invalid("logits", "be a tensor", type(found).__name__, "Give logits=, a function of the model and a batch.")
            self.recorder.update(np.arange(start, start + len(found)), found, epoch)
            start += len(found)
        if start != len(self.recorder):
            raise invalid("clean_set", f"give {len(self.recorder)} examples", start)


@contextmanager
def _undisturbed(model: torch.nn.Module) -> Iterator[None]:
    """Evaluate a model; afterwards each of its modules, and every global generator, is as it was."""
    modes = [(module, module.training) for module in model.modules()]
    drawn, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002 put back, not drawn from
    devices = {one.device for one in model.parameters() if one.device.type == "cuda"}
    try:
        with torch.random.fork_rng(list(devices)):
            model.eval()
            yield
    finally:
        random.setstate(drawn)
        np.random.set_state(legacy)  # noqa: NPY002
        model.train(modes[0][1])  # undoes what an `eval` of somebody's own does beside the flags
        for module, is_training in modes:
            module.training = is_training


def taken(model: torch.nn.Module) -> Mapping[str, inspect.Parameter]:
    """Return what a model's `forward` takes, by name."""
    return inspect.signature(model.forward).parameters


def _logits(model: torch.nn.Module, batch: Any) -> Any:
    if isinstance(batch, Mapping):
        takes_all = any(one.kind is one.VAR_KEYWORD for one in taken(model).values())
        said = model(**{name: value for name, value in batch.items() if takes_all or name in taken(model)})
    else:
        said = model(batch[0] if isinstance(batch, list | tuple) else batch)
    return said["logits"] if isinstance(said, Mapping) else getattr(said, "logits", said)


def _moved(batch: Any, parameter: torch.Tensor) -> Any:
    """Bring tensors to the device of a model's parameters, and single precision to theirs."""
    if isinstance(batch, torch.Tensor):
        return batch.to(parameter.device, parameter.dtype if batch.dtype == torch.float32 else batch.dtype)
    if isinstance(batch, Mapping):
        return {name: _moved(value, parameter) for name, value in batch.items()}
    return [_moved(one, parameter) for one in batch] if isinstance(batch, list | tuple) else batch
