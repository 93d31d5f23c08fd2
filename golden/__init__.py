"""Goldenpath for people: the `golden` command, and the same from a notebook.

import golden

project = golden.load_project("golden.yaml")
golden.use_experiment(project.project)
with mlflow.start_run():
    ...
    golden.log_reference(inputs, scores=scores, label=truth)
    golden.log_code()

A name is imported when it is first asked for: the command line is in this package too, and needs no numpy to give help.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from golden.project import Project
    from golden.project import load as load_project
    from golden.sdk import Code, log_code, log_reference, pinned, use_experiment
    from services.chassis.signatures import signature_of

__all__ = ["Code", "Project", "load_project", "log_code", "log_reference", "pinned", "signature_of", "use_experiment"]

_ELSEWHERE = {
    "Project": ("golden.project", "Project"),
    "load_project": ("golden.project", "load"),
    "signature_of": ("services.chassis.signatures", "signature_of"),
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'golden' has no attribute {name!r}")
    module, attribute = _ELSEWHERE.get(name, ("golden.sdk", name))
    return getattr(import_module(module), attribute)
