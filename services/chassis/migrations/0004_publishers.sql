-- Whose events on others' topics a consumer could read, see publishers.py; an operator who drops a letter takes its
-- publisher out again.

CREATE TABLE publishers (
    consumer text NOT NULL,
    source   text NOT NULL,
    PRIMARY KEY (consumer, source)
);

-- What an operator replays is tried even where the dead-letter limit has stopped the consumer.
CREATE INDEX dead_letter_actions_parked ON dead_letter_actions (parked) WHERE action = 'replay';
