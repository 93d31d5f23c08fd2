-- How far a watch's kept batches were held against the feature store's history, and what came of it today, by view.
CREATE TABLE proof_places (
    watch bigint PRIMARY KEY REFERENCES watches ON DELETE CASCADE,
    upto  bigint NOT NULL
);
CREATE TABLE proofs (
    watch bigint NOT NULL REFERENCES watches ON DELETE CASCADE,
    view  text NOT NULL,
    body  jsonb NOT NULL,                  -- domain/proof.py
    PRIMARY KEY (watch, view)
);
