-- Which topic an id was seen on: it is forgotten when the topic doesn't keep its event any more. Earlier rows stay.

ALTER TABLE inbox_ids ADD COLUMN topic text NOT NULL DEFAULT '';
CREATE INDEX inbox_ids_seen ON inbox_ids (consumer, topic, seen_at);
