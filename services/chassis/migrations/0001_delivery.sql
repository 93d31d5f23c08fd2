-- What every service's database has: the outbox, the inbox, parked events, leases. See outbox.py, inbox.py, leases.py.

CREATE TABLE outbox_sequences (
    key      text PRIMARY KEY,
    sequence bigint NOT NULL
);

CREATE TABLE outbox (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    lane          smallint NOT NULL,
    topic         text NOT NULL,
    key           bytea,
    sequence      bigint,
    header_names  text[] NOT NULL,
    header_values bytea[] NOT NULL,
    value         bytea,
    traceparent   text NOT NULL DEFAULT '',
    created_at    timestamptz NOT NULL DEFAULT now(),
    sent_at       timestamptz
);
CREATE INDEX outbox_unsent ON outbox (lane, id) WHERE sent_at IS NULL;
CREATE INDEX outbox_sent ON outbox (sent_at) WHERE sent_at IS NOT NULL;

-- Our own topics: one row per (consumer, source, key) with the highest sequence.
CREATE TABLE inbox_sequences (
    consumer text NOT NULL,
    source   text NOT NULL,
    key      text NOT NULL,
    sequence bigint NOT NULL,
    PRIMARY KEY (consumer, source, key)
);

-- Others' topics: the ids that were seen.
CREATE TABLE inbox_ids (
    consumer text NOT NULL,
    source   text NOT NULL,
    id       text NOT NULL,
    seen_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (consumer, source, id)
);

-- Events that wait: parked ones are retried by a job, dead ones wait for an operator; the rest of their key behind them.
CREATE TABLE parked (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    consumer        text NOT NULL,
    key             text NOT NULL,
    dead            boolean NOT NULL,
    topic           text NOT NULL,
    partition       integer NOT NULL,
    "offset"        bigint NOT NULL,
    header_names    text[] NOT NULL,
    header_values   bytea[] NOT NULL,
    raw_key         bytea,
    value           bytea,
    error           text NOT NULL,
    what            text NOT NULL,
    attempts        integer NOT NULL DEFAULT 0,
    unknown_tries   integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    parked_at       timestamptz NOT NULL DEFAULT now(),
    UNIQUE (consumer, topic, partition, "offset")
);
CREATE INDEX parked_by_key ON parked (consumer, key, id);

-- What an operator did with a dead letter, for good.
CREATE TABLE dead_letter_actions (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    parked   bigint NOT NULL,
    action   text NOT NULL,
    actor    text NOT NULL,
    reason   text NOT NULL,
    what     text NOT NULL,
    at       timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE leases (
    name       text PRIMARY KEY,
    holder     text NOT NULL,
    token      bigint NOT NULL,
    expires_at timestamptz NOT NULL
);
