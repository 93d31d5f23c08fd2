"""How the process holds memory: what a poll needs, the next one needs again.

A poll is copied through buffers of some 25 MB, which glibc hands back to the kernel when they are freed and gets anew,
page by page, for the next: a tenth of all that reading costs. So it keeps as much as it would hold at the peak anyway.
Elsewhere (macOS, musl) the allocator has no such switch, and none is set.

Source: mallopt(3).
"""

from __future__ import annotations

import ctypes
from typing import Final

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # malloc.h
_MAPPED_BYTES: Final = 32 * 2**20  # the most that glibc takes; what is larger is mapped apart
_KEPT_BYTES: Final = 128 * 2**20  # of the heap's free end


def keep_what_is_freed() -> None:
    """Keep freed memory for what is read next."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_MMAP_THRESHOLD, _MAPPED_BYTES)
        libc.mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)
