-- Requests and answers that another system's logger told one by one, until both are there; then only that they were.
-- The stream holds a partition's place in the same transaction, and a request's two sides come by one partition.
CREATE TABLE logged_sides (
    model       text NOT NULL,
    environment text NOT NULL,
    version     integer NOT NULL,
    request_id  text NOT NULL,
    asked       bytea,                    -- goldenpath.ingest.v1.InferenceLogged, while it waits for the answer
    answered    bytea,                    -- the same, while it waits for what was asked
    joined      boolean NOT NULL DEFAULT false,
    ordinal     bigint GENERATED ALWAYS AS IDENTITY,
    PRIMARY KEY (model, environment, version, request_id)
);
CREATE INDEX logged_sides_in_order ON logged_sides (ordinal);
