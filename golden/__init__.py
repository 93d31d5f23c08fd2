"""Goldenpath for people: the `golden` command, and the same from a notebook.

import golden

project = golden.load_project("golden.yaml")
golden.use_experiment(project.project)
with mlflow.start_run():
    ...
    golden.log_reference(inputs, scores=scores, label=truth)
    golden.log_code()
"""

from golden.project import Project
from golden.project import load as load_project
from golden.sdk import Code, log_code, log_reference, pinned, use_experiment

__all__ = ["Code", "Project", "load_project", "log_code", "log_reference", "pinned", "use_experiment"]
