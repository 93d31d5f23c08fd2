"""The model server: one process that serves one version, over the Open Inference Protocol, version 2.

Owns:     nothing. It reads one artifact from the store, checks its digest, and never writes to it.
Serves:   the protocol over HTTP and gRPC; /metrics for Prometheus; the gRPC health service.
Emits:    inference.recorded (columnar batches of what it was asked and what it answered) on
inference.records. Consumes: nothing.

The life of a process, in the order of `app.py`:

    artifact      every file is what the digest says; before that nothing is unpickled
    environment   this interpreter has the packages that the version was trained with
    signature     what the version takes, from the MLmodel file
    loading       the model itself, by flavour, without importing mlflow where that isn't needed
    predict       columns in, score and label out; the registered example is predicted before a port opens
    http_api, grpc_api → inference → schema, predict, records

A request walks that last line. Nothing on it waits for anything but the model: `records` and `telemetry` only
append and count, and background tasks do the rest. It is the same process on a laptop and on a cluster.
"""
