"""Feast's Redis online store, but a newer value stays where an older one comes late, however many write at once.

Named in feature_store.yaml by its class path, services.features.redis_store.GuardedRedisOnlineStore.

Feast's own store reads the event times that are there, and then writes: between the two another writer's newer value
may come, and is overwritten. It also passes over a value of the same event time, which is how one is corrected. Here
Redis itself compares and writes, in one script for an entity's view.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from feast import FeatureView
from feast.infra.online_stores.helpers import _mmh3, _redis_key
from feast.infra.online_stores.redis import RedisOnlineStore, RedisOnlineStoreConfig, _versioned_fv_name
from feast.repo_config import RepoConfig
from feast.utils import make_tzaware
from google.protobuf.timestamp_pb2 import Timestamp

from services.features.online_store import Written

_DIGITS: Final = 20  # of nanoseconds since 1970, until the year 5138; padded, so that text compares as numbers do
# Beside the time that Feast reads there is the same as text, which a script can compare.
_WRITE: Final = """
local known = redis.call('HGET', KEYS[1], ARGV[1])
if known and known > ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV))
return 1
"""


class GuardedRedisOnlineStoreConfig(RedisOnlineStoreConfig):
    """Where the store is: what Feast's own takes."""

    type: Any = "services.features.redis_store.GuardedRedisOnlineStore"


class GuardedRedisOnlineStore(RedisOnlineStore):
    """The online store; see the module."""

    def online_write_batch(
        self,
        config: RepoConfig,
        table: FeatureView,
        data: list[Written],
        progress: Callable[[int], Any] | None,
    ) -> None:
        """Write values where nothing newer is there."""
        client = self._get_client(config.online_store)
        write = client.register_script(_WRITE)
        view, version = _versioned_fv_name(table, config), config.entity_key_serialization_version
        with client.pipeline(transaction=False) as pipe:
            for entity, values, event_time, _ in data:
                stamp = Timestamp()
                stamp.FromDatetime(make_tzaware(event_time))
                fields: list[Any] = [f"_at:{view}", _text(stamp), f"_ts:{view}", stamp.SerializeToString()]
                for name, value in values.items():
                    fields += [_mmh3(f"{view}:{name}"), value.SerializeToString()]
                key = _redis_key(config.project, entity, entity_key_serialization_version=version)
                write(keys=[key], args=fields, client=pipe)
                if config.online_store.key_ttl_seconds:
                    pipe.expire(name=key, time=config.online_store.key_ttl_seconds)
            pipe.execute()
        if progress:
            progress(len(data))


def _text(stamp: Timestamp) -> str:
    return f"{stamp.ToNanoseconds():0{_DIGITS}d}"
