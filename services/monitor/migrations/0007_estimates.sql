-- What is expected of each day's records without their outcomes (services.monitor.domain.estimated), by the records' own
-- time.
CREATE TABLE estimates (
    watch bigint NOT NULL REFERENCES watches ON DELETE CASCADE,
    day   date NOT NULL,
    sums  bytea NOT NULL,
    PRIMARY KEY (watch, day)
);
