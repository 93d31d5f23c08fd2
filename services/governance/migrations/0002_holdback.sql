-- Where a share of the units stays with the version before the stable one.
ALTER TABLE moments
    ADD COLUMN holdback_version integer NOT NULL DEFAULT 0,
    ADD COLUMN holdback_weight integer NOT NULL DEFAULT 0;
