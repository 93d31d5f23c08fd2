-- Rebuilds of a read model, see rebuilding.py: who asked for one and why, for good; and how far each partition has come.

CREATE TABLE rebuilds (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    consumer text NOT NULL,
    actor    text NOT NULL,
    reason   text NOT NULL,
    began_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX rebuilds_by_consumer ON rebuilds (consumer, id DESC);

-- Only the newest rebuild of a consumer has places.
CREATE TABLE rebuild_places (
    consumer  text NOT NULL,
    topic     text NOT NULL,
    partition integer NOT NULL,
    first     bigint NOT NULL,  -- the oldest offset that the topic had
    next      bigint NOT NULL,  -- the next offset to read
    until     bigint NOT NULL,  -- the log's end when it began
    failed    bigint NOT NULL DEFAULT 0,
    problem   text NOT NULL DEFAULT '',  -- of the last event that couldn't be applied
    PRIMARY KEY (consumer, topic, partition)
);
