-- What each watch saw, by event time: the records from `began` to before `until`, as a window (services.profile) that is
-- compressed by zlib.
CREATE TABLE panes (
    watch  bigint NOT NULL REFERENCES watches ON DELETE CASCADE,
    began  timestamptz NOT NULL,
    until  timestamptz NOT NULL,
    counts bytea NOT NULL,
    PRIMARY KEY (watch, began)
);
