from __future__ import annotations

import uuid

from services.modelserver.record_ids import new_ids, text_of
from services.monitor.record_ids import made_ms


def test_ids_are_uuids_of_version_7_whose_moment_the_monitor_reads() -> None:
    (one,) = new_ids(1_700_000_000_123, 1)
    made = uuid.UUID(bytes=one)
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert made_ms(made) == 1_700_000_000_123
    assert str(made) == text_of(one)


def test_ids_of_one_moment_differ() -> None:
    assert len(set(new_ids(1, 10_000))) == 10_000


def test_a_later_id_sorts_behind_an_earlier_one() -> None:
    assert new_ids(1_000, 1) < new_ids(1_001, 1)
