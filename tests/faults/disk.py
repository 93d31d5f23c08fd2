"""A small file system for the database, which can be full."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

_SIZE: Final = "384m"  # four databases with their write-ahead logs take 200 MB


class Disk:
    """A file system of its own, in memory.

    Args:
        folder: Where it is mounted.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(self) -> None:
        """Leave no room on it."""
        with self._filler.open("wb") as file, suppress(OSError):
            while True:
                file.write(bytes(1 << 20))
                file.flush()

    def make_room(self) -> None:
        """Take away what filled it."""
        self._filler.unlink(missing_ok=True)

    def keep(self, folder: Path) -> None:
        """Copy what stands on it elsewhere."""
        shutil.copytree(self.folder, folder, symlinks=True, dirs_exist_ok=True)

    def unmount(self) -> None:
        """Give it back."""
        subprocess.run(["umount", self.folder], check=False)

    @property
    def _filler(self) -> Path:
        return self.folder / "filler"


def small_disk(folder: Path) -> Disk | None:
    """Make one; None where we may not."""
    if os.geteuid() != 0 or sys.platform != "linux":
        return None
    folder.mkdir()
    options = f"size={_SIZE},mode=755"
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=False, capture_output=True)
    return Disk(folder) if done.returncode == 0 else None
