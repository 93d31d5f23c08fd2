-- A server that is to end is no server of its version any more, even where that is wanted again before it has ended.
ALTER TABLE endpoints ADD COLUMN leaving boolean NOT NULL DEFAULT false;
