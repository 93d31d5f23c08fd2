"""Files that only their owner may read, and that are never seen half written."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write_private(file: Path, text: str) -> None:
    """Replace a file in one step; mode 0600, in a folder of mode 0700 where that is new."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, beside = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")  # mkstemp makes it 0600
    try:
        with os.fdopen(descriptor, "w") as new:
            new.write(text)
            new.flush()
            os.fsync(new.fileno())
        Path(beside).replace(file)
    except BaseException:  # a Ctrl-C too: what was to be private isn't left lying beside it
        Path(beside).unlink()
        raise
