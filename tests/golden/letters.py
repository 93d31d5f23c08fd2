"""A dead letter and a parked event, as services tell of them."""

from __future__ import annotations

LETTERS = "/deployer/v1/deadletters"
LETTER = {
    "id": 12,
    "topic": "monitor.events",
    "error": "Invalid",
    "what": "no [epoch]",
    "since": "2026-11-23T14:00:00Z",
}
PARKED = "/registry/v1/parked"
REASON = {
    "consumer": "registry",
    "error": "NotFound",
    "what": "there is no [version] 3",
    "dead": False,
    "id": 7,
    "since": "2026-11-23T14:00:00.123Z",
    "events": 5,
}
