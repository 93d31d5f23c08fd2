-- A deployment's last candidate that got a copy of the traffic, and how its answers compare with the stable's.
CREATE TABLE shadows (
    model       text NOT NULL,
    environment text NOT NULL,
    version     integer NOT NULL,
    epoch       bigint NOT NULL,
    deviation   double precision NOT NULL, -- of the reference's scores; 0 without a reference
    seen_at     timestamptz NOT NULL,
    awake       boolean NOT NULL DEFAULT true, -- while copies come
    pairs       bigint NOT NULL DEFAULT 0,
    differing   bigint NOT NULL DEFAULT 0,
    unpaired    bigint NOT NULL DEFAULT 0,
    apart       double precision NOT NULL DEFAULT 0, -- the sum over all pairs of how far the scores are apart
    PRIMARY KEY (model, environment)
);

-- Answers whose other side hasn't come yet, a row per request; `ordinal` is the order of arrival.
CREATE TABLE unpaired_answers (
    model       text NOT NULL,
    environment text NOT NULL,
    mirrored    boolean NOT NULL,          -- the candidate's, to a copy; else the stable's
    request_id  text NOT NULL,
    scores      double precision[] NOT NULL,
    labels      text[] NOT NULL,
    ordinal     bigint GENERATED ALWAYS AS IDENTITY,
    PRIMARY KEY (model, environment, request_id, mirrored)
);
CREATE INDEX unpaired_answers_in_order ON unpaired_answers (model, environment, ordinal);
