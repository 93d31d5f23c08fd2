-- How far a deployment's present promotion has been guarded against the version before it.
CREATE TABLE guards (
    model       text NOT NULL,
    environment text NOT NULL,
    epoch       bigint NOT NULL,
    look        integer NOT NULL,          -- which comes next, from 0
    stable      jsonb NOT NULL,            -- the proxy's readings at the last one; domain/traffic.py
    holdback    jsonb NOT NULL,
    PRIMARY KEY (model, environment)
);
