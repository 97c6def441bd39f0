"""Functions of the user's own that a job file names: `module.function`, beside the job file.

Naming one in a job file is what allows it to run; nothing else is ever loaded. The module is a
file of that name in the job file's folder, as `user_handler_functions.py` is for Nordic's compiler,
and functions are called with the arguments that Nordic's compiler passes, so that handlers
written for it can be kept (docs/job-files.md).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from harness.errors import ConfigError

Handler = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class OutputShape:
    """Extent of one output as handlers know it."""

    depth: int
    height: int
    width: int


@dataclass(slots=True)
class ReportedValues:
    """What a handler reports about a variant; shown in the comparison table."""

    accuracy: float | None = None
    precision: float | None = None
    quantization_loss: float | None = None
    others: dict[str, Any] = field(default_factory=dict)

    def set_axon_accuracy_value(self, variant: str, axons_acc: float) -> None:
        """The accuracy of the Axon program, 0..1."""
        del variant
        self.accuracy = float(axons_acc)

    def set_axon_precision_value(self, variant: str, axon_precision: float) -> None:
        """The precision of the Axon program, 0..1."""
        del variant
        self.precision = float(axon_precision)

    def set_axon_quantization_loss_value(self, variant: str, axons_q_loss: float) -> None:
        """The loss against the float model, in percent."""
        del variant
        self.quantization_loss = float(axons_q_loss)


def load_handler(folder: Path, name: str) -> Handler:
    """The function `name` ("module.function") from `folder`/module.py.

    This runs the module. Raises ConfigError when the file or the function is missing or the module
    fails.
    """
    module_name, _, function_name = name.partition(".")
    path = folder / f"{module_name}.py"
    if not path.is_file():
        raise ConfigError(
            f"the job names the handler {name}, but {path} does not exist: put the file beside the "
            "job file, or leave the key empty"
        )
    spec = importlib.util.spec_from_file_location(f"axonrig_handlers_{module_name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # the user's code may raise anything
        _refuse(f"{path} cannot be loaded", error)
    function = getattr(module, function_name, None)
    if not callable(function):
        raise ConfigError(f"{path} has no function '{function_name}', which the job names")
    found: Handler = function
    return found


def call_handler(handler: Handler, name: str, *arguments: object) -> Any:
    """What the handler returns. Raises ConfigError naming it when it raises."""
    try:
        return handler(*arguments)
    except Exception as error:  # as above
        _refuse(f"the handler {name} failed", error)


def _refuse(text: str, error: Exception) -> NoReturn:
    reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    raise ConfigError(f"{text}: {reason}") from error
