-- Versions that somebody has a question for, and until when a server of each is kept for it.
CREATE TABLE loans (
    model       text NOT NULL,
    environment text NOT NULL,
    version     integer NOT NULL,
    until       timestamptz NOT NULL,
    PRIMARY KEY (model, environment, version)
);
CREATE TRIGGER wake AFTER INSERT OR UPDATE ON loans FOR EACH ROW EXECUTE FUNCTION wake_deployer();
