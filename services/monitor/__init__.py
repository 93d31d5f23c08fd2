"""The monitor: whether what a version sees is still what it was trained for, at a stated rate of false alarms.

Owns      who serves in which role as far as records say, the judges' states, signals, a bounded sample of records and
          of outcomes
Consumes  inference.records (every prediction, in columnar batches), inference.outcomes (outcome.recorded),
          deployer.events (who took which role in which epoch)
Emits     monitor.events: drift.noticed, drift.detected, drift.cleared, performance.degraded, data_quality.violated
Serves    gRPC goldenpath.monitor.v1.MonitorService; the same reads on HTTP
Asks      the registry, once per version: its reference profile and its drift settings; the feature store's history

The life of a record. A poll of a partition is one transaction: the offset row moves (the fence: a replica that lost
the partition finds it moved, and discards), each batch finds the watch of its version in its role and epoch, is counted
under the version's profile and put before the judge, and is kept in the sample. What the judge finds becomes a signal
and an event in the same transaction. An outcome is kept by its record's id, and meets the record when somebody asks.
A record of a mirrored copy enters no window: it meets the stable's answer to the same request, and both are compared.
"""
