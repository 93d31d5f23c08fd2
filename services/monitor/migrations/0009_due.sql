-- Watches whose records are due and couldn't be counted: how often in a row, since when, why, and when it is tried again.
CREATE TABLE uncounted (
    watch  bigint PRIMARY KEY REFERENCES watches ON DELETE CASCADE,
    tries  integer NOT NULL,
    since  timestamptz NOT NULL,
    why    text NOT NULL,
    try_at timestamptz NOT NULL
);

-- When the oldest record of a batch was made: a batch may span days, and all of its records may still be waited for. An
-- earlier release tells it of none, so its arrival counts.
ALTER TABLE open_batches ADD COLUMN oldest_at timestamptz NOT NULL DEFAULT now();
UPDATE open_batches SET oldest_at = newest_at;
DROP INDEX open_batches_oldest;
CREATE INDEX open_batches_oldest ON open_batches (watch, oldest_at);
ALTER TABLE sampled_batches ADD COLUMN oldest_at timestamptz NOT NULL DEFAULT now();
UPDATE sampled_batches SET oldest_at = arrived_at;
CREATE INDEX sampled_batches_oldest ON sampled_batches (watch, oldest_at);
