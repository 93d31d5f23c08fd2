-- The monitor's own tables.

-- Where each partition of inference.records goes on. The fence of a replica: whoever finds it moved discards.
CREATE TABLE stream_offsets (
    topic     text NOT NULL,
    partition integer NOT NULL,
    next      bigint NOT NULL,
    PRIMARY KEY (topic, partition)
);

-- Which batches of which server process were had: a server that isn't sure sends a batch again.
CREATE TABLE batches_seen (
    server  text NOT NULL,
    batch   bigint NOT NULL,
    seen_at timestamptz NOT NULL,
    PRIMARY KEY (server, batch)
);
CREATE INDEX batches_seen_at ON batches_seen (seen_at);

-- What the registry said about a version; it never changes. Without a profile: profile is null.
CREATE TABLE version_references (
    model    text NOT NULL,
    version  integer NOT NULL,
    profile  bytea,
    settings jsonb NOT NULL,
    PRIMARY KEY (model, version)
);

-- A version's time in a role. The judge's state is bytes that the domain reads and writes.
CREATE TABLE watches (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    model            text NOT NULL,
    environment      text NOT NULL,
    role             text NOT NULL,
    version          integer NOT NULL,
    epoch            bigint NOT NULL,
    began_at         timestamptz NOT NULL,
    ended_at         timestamptz,
    state            bytea,
    day              date,
    restarts         integer NOT NULL DEFAULT 0,
    rows_seen        bigint NOT NULL DEFAULT 0,
    rows_dropped     bigint NOT NULL DEFAULT 0,
    newest_record_at timestamptz
);
CREATE UNIQUE INDEX watches_present ON watches (model, environment, role) WHERE ended_at IS NULL;
CREATE INDEX watches_past ON watches (model, environment, role, id);

-- The newest records of each watch, batch by batch, as two parts of goldenpath.modelserver.v1.InferenceRecorded;
-- `upto` is how many records the watch had seen with it.
CREATE TABLE sampled_batches (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    watch       bigint NOT NULL REFERENCES watches ON DELETE CASCADE,
    arrived_at  timestamptz NOT NULL,
    upto        bigint NOT NULL,
    predictions bytea NOT NULL,
    inputs      bytea NOT NULL
);
CREATE INDEX sampled_batches_by_watch ON sampled_batches (watch, upto);

-- What turned out to be true; `ordinal` is the order of arrival.
CREATE TABLE outcomes (
    model       text NOT NULL,
    record_id   uuid NOT NULL,
    value       double precision,
    label       text,
    occurred_at timestamptz NOT NULL,
    ordinal     bigint GENERATED ALWAYS AS IDENTITY,
    PRIMARY KEY (model, record_id)
);
CREATE INDEX outcomes_in_order ON outcomes (model, ordinal);

-- Findings. `body` is goldenpath.monitor.v1.Signal.
CREATE TABLE signals (
    ordinal     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id          uuid NOT NULL UNIQUE,
    watch       bigint NOT NULL REFERENCES watches,
    model       text NOT NULL,
    environment text NOT NULL,
    level       text NOT NULL,
    since       timestamptz NOT NULL,
    raised_at   timestamptz NOT NULL,
    cleared_at  timestamptz,
    changed     bigint NOT NULL,
    body        bytea NOT NULL
);
CREATE SEQUENCE signal_changes;
CREATE INDEX signals_open ON signals (watch) WHERE level = 'detected' AND cleared_at IS NULL;
CREATE INDEX signals_changed ON signals (changed);
