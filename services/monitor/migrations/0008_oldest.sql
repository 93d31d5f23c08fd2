-- How old the records are that are kept of a watch. An outcome of an older one finds nothing that could wait for it, so
-- it is marked as counted when it comes.
CREATE INDEX open_batches_oldest ON open_batches (watch, newest_at);
