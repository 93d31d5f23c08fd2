"""The pusher: feature values from the stream into the feature store, online and into the history.

Owns:     the histories of feature views, which training sets and proofs are made from.
Consumes: ingest.features  features.computed
Emits:    nothing but dead letters.

    event → domain.rows_of checks it against the view → the history, in the event's transaction → the online store,
    where nothing newer is there → commit

The online store is written before the transaction commits. If that fails, or the process dies, the event comes again,
and writes the same values at the same event time. So the order of events doesn't matter, nor how often one comes; a
value that was served is in the history as soon as its event is done with.
"""
