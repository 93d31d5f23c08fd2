-- What a version's model servers read from the feature store, as they are told it; empty where they read nothing.
ALTER TABLE versions ADD COLUMN features text NOT NULL DEFAULT '';
