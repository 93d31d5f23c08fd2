"""The tree against the reference implementation's vectors, and its properties for any log."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.chassis.errors import Invalid
from services.governance.domain import merkle
from services.governance.domain.merkle import Frontier, Node, Span, leaf_hash

# The leaves and heads of certificate-transparency's reference tests (merkle_tree_test.cc).
LEAVES = [
    bytes.fromhex(text)
    for text in ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
INCLUSION = {  # (index, size): path
    (0, 1): [],
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
    (1, 5): [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}
CONSISTENCY = {  # (first, second): path
    (1, 1): [],
    (1, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 5): [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}


class Log:
    """A log in memory."""

    def __init__(self, contents: list[bytes]) -> None:
        self.frontiers = [Frontier()]
        self.nodes: dict[Node, bytes] = {}
        for content in contents:
            frontier, made = self.frontiers[-1].append(leaf_hash(content))
            self.frontiers.append(frontier)
            self.nodes |= made

    def root(self, size: int) -> bytes:
        return self.frontiers[size].root

    def inclusion(self, index: int, size: int) -> tuple[bytes, ...]:
        return merkle.proof(merkle.inclusion_spans(index, size), self.nodes)

    def consistency(self, first: int, second: int) -> tuple[bytes, ...]:
        return merkle.proof(merkle.consistency_spans(first, second), self.nodes)


@pytest.fixture(scope="module")
def reference() -> Log:
    return Log(LEAVES)


def by_definition(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962, section 2.1, word by word."""
    if not leaves:
        return merkle.EMPTY_ROOT
    if len(leaves) == 1:
        return leaf_hash(leaves[0])
    middle = merkle.split(len(leaves))
    return merkle.node_hash(by_definition(leaves[:middle]), by_definition(leaves[middle:]))


def test_an_empty_log_has_the_hash_of_nothing_as_its_head() -> None:
    assert Frontier().root.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.mark.parametrize("size", range(1, 9))
def test_heads_are_those_of_the_reference_implementation(reference: Log, size: int) -> None:
    assert reference.root(size).hex() == ROOTS[size - 1]


@pytest.mark.parametrize(("index", "size"), INCLUSION)
def test_inclusion_proofs_are_those_of_the_reference_implementation(reference: Log, index: int, size: int) -> None:
    assert [step.hex() for step in reference.inclusion(index, size)] == INCLUSION[index, size]


@pytest.mark.parametrize(("first", "second"), CONSISTENCY)
def test_consistency_proofs_are_those_of_the_reference_implementation(reference: Log, first: int, second: int) -> None:
    assert [step.hex() for step in reference.consistency(first, second)] == CONSISTENCY[first, second]


@given(st.lists(st.binary(max_size=8), max_size=70))
def test_appending_gives_the_head_that_the_definition_gives(contents: list[bytes]) -> None:
    log = Log(contents)
    assert log.root(len(contents)) == by_definition(contents)
    assert merkle.frontier_of(len(contents), log.nodes) == log.frontiers[-1]


@given(st.data(), st.integers(1, 130))
def test_every_leaf_is_proved_and_no_other_leaf_or_place_passes(data: st.DataObject, size: int) -> None:
    log = Log([number.to_bytes(2) for number in range(size)])
    index, wrong = data.draw(st.integers(0, size - 1)), data.draw(st.integers(0, size))
    path = log.inclusion(index, size)
    leaf = leaf_hash(index.to_bytes(2))
    assert merkle.is_included(leaf, index, size, path, log.root(size))
    assert merkle.is_included(leaf, wrong, size, path, log.root(size)) == (wrong == index)
    assert not merkle.is_included(leaf_hash(b"other"), index, size, path, log.root(size))
    assert not merkle.is_included(leaf, index, size, (*path, leaf), log.root(size))
    assert not merkle.is_included(leaf, index, size, path, leaf_hash(b"other"))


@given(st.data(), st.integers(1, 130))
def test_every_earlier_log_is_proved_a_beginning_and_a_rewritten_one_is_not(data: st.DataObject, second: int) -> None:
    first = data.draw(st.integers(1, second))
    changed = data.draw(st.integers(0, first - 1))
    log = Log([number.to_bytes(2) for number in range(second)])
    rewritten = Log([b"changed" if number == changed else number.to_bytes(2) for number in range(second)])
    path = log.consistency(first, second)
    assert merkle.is_consistent(first, second, path, log.root(first), log.root(second))
    assert not merkle.is_consistent(first, second, path, log.root(first), rewritten.root(second))
    forged = rewritten.consistency(first, second)
    assert not merkle.is_consistent(first, second, forged, log.root(first), rewritten.root(second))
    assert not merkle.is_consistent(first, second, (*path, b"x" * 32), log.root(first), log.root(second))


@given(st.integers(0, 5_000))
def test_an_append_stores_no_more_than_the_logarithm(size: int) -> None:
    frontier = Frontier(size, (b"x" * 32,) * size.bit_count())
    after, made = frontier.append(b"y" * 32)
    assert len(made) <= (size + 1).bit_length()
    assert len(after.hashes) == (size + 1).bit_count()


@pytest.mark.parametrize(("index", "size"), [(0, 0), (3, 3), (-1, 3)])
def test_a_proof_for_an_entry_that_is_not_there_is_invalid(index: int, size: int) -> None:
    with pytest.raises(Invalid, match="has no entry"):
        merkle.inclusion_spans(index, size)


@pytest.mark.parametrize(("first", "second"), [(0, 3), (4, 3)])
def test_a_consistency_proof_needs_sizes_in_order(first: int, second: int) -> None:
    with pytest.raises(Invalid, match="first"):
        merkle.consistency_spans(first, second)


def test_nodes_of_a_span_cover_it_from_left_to_right() -> None:
    assert merkle.nodes_of(Span(4, 7)) == (Node(1, 2), Node(0, 6))
