-- Records whose outcome may still come, batch by batch (goldenpath.modelserver.v1.InferenceRecorded), and the newest of
-- those that were counted, for whoever replays them.
CREATE TABLE open_batches (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    watch       bigint NOT NULL REFERENCES watches ON DELETE CASCADE,
    newest_at   timestamptz NOT NULL,  -- its newest record, by event time
    due_at      timestamptz NOT NULL,  -- when it counts, by the records' own time
    due_by      timestamptz NOT NULL,  -- and by ours, where records or outcomes stopped coming
    counted_at  timestamptz,
    rows        integer NOT NULL,
    body        bytea NOT NULL
);
CREATE INDEX open_batches_waiting ON open_batches (watch, due_at, id) WHERE counted_at IS NULL;
CREATE INDEX open_batches_counted ON open_batches (watch, id) WHERE counted_at IS NOT NULL;

-- Of a model: how far outcomes have come, and how often the share of records that is kept for them was halved.
CREATE TABLE joins (
    model             text PRIMARY KEY,
    newest_outcome_at timestamptz NOT NULL DEFAULT '-infinity',
    halvings          smallint NOT NULL DEFAULT 0
);

-- How each watch keeps its promise (services.monitor.domain.promise.Kept), and its records that wait.
CREATE TABLE promises (
    watch     bigint PRIMARY KEY REFERENCES watches ON DELETE CASCADE,
    kept      bytea,
    open_rows bigint NOT NULL DEFAULT 0
);

-- What each day's records with outcomes add up to, by the records' own time; feature and value are empty for all.
CREATE TABLE performance_days (
    watch   bigint NOT NULL REFERENCES watches ON DELETE CASCADE,
    day     date NOT NULL,
    feature text NOT NULL,
    value   text NOT NULL,
    rows    bigint NOT NULL,
    loss    double precision NOT NULL,  -- the sum of the promised metric's losses
    sums    bytea NOT NULL,             -- services.monitor.domain.tallies
    PRIMARY KEY (watch, day, feature, value)
);

-- Whether a record's outcome was counted already.
ALTER TABLE outcomes ADD COLUMN counted boolean NOT NULL DEFAULT false;
