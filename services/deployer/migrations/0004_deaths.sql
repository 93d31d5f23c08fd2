-- Servers of a version that died one after another, since one of them answered last.
CREATE TABLE deaths (
    model       text NOT NULL,
    environment text NOT NULL,
    version     integer NOT NULL,
    times       integer NOT NULL,
    last_words  text NOT NULL,
    PRIMARY KEY (model, environment, version)
);
