"""The append-only log's tree, after RFC 6962: heads, inclusion and consistency, and how anybody checks them.

The tree over n leaves splits at the largest power of two below n, so every subtree that is complete stays as it is
for ever. Only complete subtrees are stored, each under (level, index): it covers the leaves from index * 2**level,
2**level of them. An append stores the new leaf and the subtrees that it completes (two nodes on average, log2(n) at
the most), and needs nothing but the frontier: the largest complete subtrees of the present log, from left to right.

A proof is a list of subtree hashes, and some of them, at the right edge, aren't complete: these are folded from
complete ones. So a proof is had in three steps without any I/O in between: which spans it takes
(`inclusion_spans`, `consistency_spans`), which stored nodes those take (`nodes_of`), and the hashes (`hash_of`).

Source: RFC 6962, section 2.1. The checks: RFC 9162, sections 2.1.3.2 and 2.1.4.2.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from services.chassis.errors import Invalid

EMPTY_ROOT: Final = hashlib.sha256(b"").digest()


@dataclass(frozen=True, slots=True, order=True)
class Node:
    """A complete subtree.

    Args:
        level: The logarithm of its number of leaves; 0 is a leaf.
        index: Its place among the subtrees of its level, from 0.
    """

    level: int
    index: int


@dataclass(frozen=True, slots=True)
class Span:
    """The leaves from start to just before end; a subtree of the tree, complete or at its right edge."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Frontier:
    """All that an append needs to know of the log.

    Args:
        size: How many leaves it has.
        hashes: The hashes of the complete subtrees that `size` splits into, from the largest to the smallest.
    """

    size: int = 0
    hashes: tuple[bytes, ...] = ()

    @property
    def root(self) -> bytes:
        """The tree's head, 32 bytes."""
        return _folded(self.hashes)

    def append(self, leaf: bytes) -> tuple[Frontier, dict[Node, bytes]]:
        """Add one leaf's hash: the log after it, and the nodes to store."""
        node, value, hashes = Node(0, self.size), leaf, list(self.hashes)
        made = {node: value}
        while node.index % 2:
            node, value = Node(node.level + 1, node.index // 2), node_hash(hashes.pop(), value)
            made[node] = value
        return Frontier(self.size + 1, (*hashes, value)), made


def leaf_hash(content: bytes) -> bytes:
    """The hash of a leaf: the prefix keeps a leaf from ever passing as an inner node."""
    return hashlib.sha256(b"\x00" + content).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def _folded(hashes: Sequence[bytes]) -> bytes:
    if not hashes:
        return EMPTY_ROOT
    root = hashes[-1]
    for left in reversed(hashes[:-1]):
        root = node_hash(left, root)
    return root


def split(size: int) -> int:
    """The largest power of two below a size of 2 or more: how many leaves are in a tree's left half."""
    return 1 << (size - 1).bit_length() - 1


def nodes_of(span: Span) -> tuple[Node, ...]:
    """The complete subtrees that a span of the tree is folded from, from left to right.

    >>> nodes_of(Span(0, 6))
    (Node(level=2, index=0), Node(level=1, index=2))
    """
    nodes, start = [], span.start
    while start < span.end:
        level = (span.end - start).bit_length() - 1
        nodes.append(Node(level, start >> level))
        start += 1 << level
    return tuple(nodes)


def hash_of(span: Span, stored: Mapping[Node, bytes]) -> bytes:
    """The hash of a span of the tree, from the stored nodes that `nodes_of` names."""
    return _folded([stored[node] for node in nodes_of(span)])


def frontier_of(size: int, stored: Mapping[Node, bytes]) -> Frontier:
    """The frontier of the log at a size."""
    return Frontier(size, tuple(stored[node] for node in nodes_of(Span(0, size))))


def inclusion_spans(index: int, size: int) -> tuple[Span, ...]:
    """The spans whose hashes prove that a leaf is in the log, from the leaf up.

    Raises:
        Invalid: there is no such leaf in a log of that size.
    """
    if not 0 <= index < size:
        raise Invalid(f"a log of {size} entries has no entry {index}", where="index")
    spans, start, end = [], 0, size
    while end - start > 1:
        middle = start + split(end - start)
        within_left = index < middle
        spans.append(Span(middle, end) if within_left else Span(start, middle))
        start, end = (start, middle) if within_left else (middle, end)
    return tuple(reversed(spans))


def consistency_spans(first: int, second: int) -> tuple[Span, ...]:
    """The spans whose hashes prove that the log of the first size is the beginning of that of the second.

    Raises:
        Invalid: the sizes aren't 1 ≤ first ≤ second.
    """
    if not 1 <= first <= second:
        raise Invalid(f"it takes 1 ≤ first ≤ second, not {first} and {second}", where="first_size")
    spans, start, end = [], 0, second
    while first < end:
        middle = start + split(end - start)
        within_left = first <= middle
        spans.append(Span(middle, end) if within_left else Span(start, middle))
        start, end = (start, middle) if within_left else (middle, end)
    own = [Span(start, end)] if start else []  # where the first tree is whole, its root is known already
    return (*own, *reversed(spans))


def proof(spans: Iterable[Span], stored: Mapping[Node, bytes]) -> tuple[bytes, ...]:
    """The hashes of a proof."""
    return tuple(hash_of(span, stored) for span in spans)


def is_included(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """Whether a proof shows that the log of this size and root has this leaf's hash at this index."""
    if not 0 <= index < size:
        return False
    place, last, value = index, size - 1, leaf
    for step in path:
        if last == 0:
            return False
        if place % 2 or place == last:
            value = node_hash(step, value)
            while place and not place % 2:
                place, last = place >> 1, last >> 1
        else:
            value = node_hash(value, step)
        place, last = place >> 1, last >> 1
    return last == 0 and value == root


def is_consistent(first: int, second: int, path: Sequence[bytes], first_root: bytes, second_root: bytes) -> bool:
    """Whether a proof shows that the log of the first size and root is the beginning of that of the second."""
    if first == second:
        return not path and first_root == second_root
    if not 1 <= first < second or not path:
        return False
    steps = [first_root, *path] if first & (first - 1) == 0 else list(path)
    place, last = first - 1, second - 1
    while place % 2:
        place, last = place >> 1, last >> 1
    old = new = steps[0]
    for step in steps[1:]:
        if last == 0:
            return False
        if place % 2 or place == last:
            old, new = node_hash(step, old), node_hash(step, new)
            while place and not place % 2:
                place, last = place >> 1, last >> 1
        else:
            new = node_hash(new, step)
        place, last = place >> 1, last >> 1
    return last == 0 and old == first_root and new == second_root
