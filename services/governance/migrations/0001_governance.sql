-- What governance owns: policies, cases with their verdicts, what served when, and the log. See store.py, log_store.py.

-- Every policy that ever stood; the newest of a name stands. The revision rises with each change of any policy.
CREATE TABLE policies (
    revision   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name       text NOT NULL,
    digest     text NOT NULL,
    source     text NOT NULL,
    changed_by text NOT NULL,
    changed_at timestamptz NOT NULL
);
CREATE INDEX policies_by_name ON policies (name, revision DESC);

-- Every verdict that was ever given, with the facts that it judged. (given_in, sequence) is commit order for readers
-- who look only at transactions older than every open one.
CREATE TABLE verdicts (
    sequence   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    given_in   xid8 NOT NULL DEFAULT pg_current_xact_id(),
    id         uuid NOT NULL UNIQUE,
    model      text NOT NULL,
    version    integer NOT NULL,
    state      text NOT NULL,
    decided_at timestamptz NOT NULL,
    facts      text NOT NULL,
    body       text NOT NULL
);
CREATE INDEX verdicts_by_version ON verdicts (model, version, sequence DESC);
CREATE INDEX verdicts_in_order ON verdicts (given_in, sequence);

-- What governance knows of a version now, and the verdict that stands.
CREATE TABLE cases (
    model            text NOT NULL,
    version          integer NOT NULL,
    state            text NOT NULL,
    requested_at     timestamptz NOT NULL,
    datasets         text[] NOT NULL,
    policies_revision bigint NOT NULL,
    look_again       text,  -- the trace context of what changed; null where nothing did
    verdict          uuid NOT NULL REFERENCES verdicts (id),
    body             text NOT NULL,
    PRIMARY KEY (model, version)
);
CREATE INDEX cases_waiting ON cases (requested_at, model, version) WHERE state = 'waiting';
CREATE INDEX cases_by_dataset ON cases USING gin (datasets);
CREATE INDEX cases_by_policies ON cases (policies_revision);
CREATE INDEX cases_to_look_at ON cases (model, version) WHERE look_again IS NOT NULL;

-- What had traffic from a moment on, by the deployer's word, a row per effect that the proxy showed.
CREATE TABLE moments (
    topic             text NOT NULL,
    partition         integer NOT NULL,
    "offset"          bigint NOT NULL,
    model             text NOT NULL,
    environment       text NOT NULL,
    epoch             bigint NOT NULL,
    stable_version    integer NOT NULL,
    candidate_version integer NOT NULL,
    candidate_weight  integer NOT NULL,
    effective_at      timestamptz NOT NULL,
    verdict_version   integer NOT NULL,
    verdict           text NOT NULL,
    PRIMARY KEY (topic, partition, "offset")
);
CREATE INDEX moments_in_order ON moments (model, environment, effective_at DESC, epoch DESC, "offset" DESC);

-- The log. Its one writer holds the lease `log`; nothing here is ever updated or deleted but the head and the places.
CREATE TABLE log_entries (
    index        bigint PRIMARY KEY,
    topic        text NOT NULL,
    partition    integer NOT NULL,
    "offset"     bigint NOT NULL,
    event_id     text NOT NULL,
    event_type   text NOT NULL,
    subject      text NOT NULL,
    content_hash bytea NOT NULL,
    leaf_hash    bytea NOT NULL,
    appended_at  timestamptz NOT NULL,
    UNIQUE (topic, partition, "offset")
);
-- A hash, as an id that is no id of ours may be longer than a tree's entry can.
CREATE INDEX log_entries_by_event ON log_entries USING hash (event_id);

CREATE TABLE log_nodes (
    level smallint NOT NULL,
    index bigint NOT NULL,
    hash  bytea NOT NULL,
    PRIMARY KEY (level, index)
);

CREATE TABLE log_head (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    size   bigint NOT NULL
);
INSERT INTO log_head (size) VALUES (0);

-- The next offset to read: the fence against a second writer, beside the lease.
CREATE TABLE log_places (
    topic     text NOT NULL,
    partition integer NOT NULL,
    next      bigint NOT NULL,
    PRIMARY KEY (topic, partition)
);
