-- Rebuilding what a service copies from others' topics; see rebuild.py.

-- Up to where an aggregate's events were told on already when a rebuild began: up to there handlers emit nothing.
ALTER TABLE inbox_sequences ADD COLUMN told bigint NOT NULL DEFAULT 0;
ALTER TABLE parked ADD COLUMN told boolean NOT NULL DEFAULT false;

-- Whether the reader of a partition has gone back to its beginning.
CREATE TABLE rebuild_places (
    consumer  text NOT NULL,
    topic     text NOT NULL,
    partition integer NOT NULL,
    rewound   boolean NOT NULL,
    PRIMARY KEY (consumer, topic, partition)
);

-- Who ordered a rebuild and why, for good.
CREATE TABLE rebuild_orders (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    consumer text NOT NULL,
    actor    text NOT NULL,
    reason   text NOT NULL,
    tables   text[] NOT NULL,
    at       timestamptz NOT NULL
);
