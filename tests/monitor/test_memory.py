"""What a poll needed is there for the next one."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

POLLS = """
import resource
from services.monitor.memory import keep_what_is_freed
{first}
def poll():
    return [b"x" * (20 * 2**20) for _ in range(3)]
for _ in range(3):
    poll()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3):
    poll()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def pages_asked_for(first: str) -> int:
    """How many pages a process asks the kernel for in three polls, after others that needed as much."""
    done = subprocess.run([sys.executable, "-c", POLLS.format(first=first)], capture_output=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the allocator isn't glibc's")
def test_a_poll_asks_the_kernel_for_no_memory_that_the_last_one_freed() -> None:
    assert pages_asked_for("keep_what_is_freed()") < 100 < pages_asked_for("")
