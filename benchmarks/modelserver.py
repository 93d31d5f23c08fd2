"""How fast the model server answers one row, bare and through Envoy, beside the servers that people would use instead.

    python benchmarks/modelserver.py                 ours, bare and through Envoy
    python benchmarks/modelserver.py --peers         and MLServer, kserve's ModelServer, mlflow models serve
    python benchmarks/modelserver.py --seconds 3     shorter

Every server gets the same scikit-learn model (a scaler and a logistic regression on ten numbers), saved once by MLflow,
the same request, and the same load: eight kept-alive connections, each of which sends its next request when it has its
answer. Ours runs with everything on: checks, records to a real Kafka, traces of one request in twenty, metrics. Each
peer runs in an environment of its own, made by uv below the cache folder, as its own documentation starts it, with one
worker process, as ours has one.

The load generator is a bare protocol on uvloop, so that it costs little beside what it measures; where it and the
server share two cores with other work, the figures are lower for all of them alike.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
