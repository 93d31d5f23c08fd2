-- Requests for a new version. At most one of a deployment is open: until a version that names it is registered, or any
-- takes over.
CREATE TABLE trainings (
    id           uuid PRIMARY KEY,
    model        text NOT NULL,
    environment  text NOT NULL,
    body         bytea NOT NULL,         -- goldenpath.deployer.v1.TrainingRequested
    requested_at timestamptz NOT NULL,
    answered_at  timestamptz,
    version      integer                 -- the version that answered it; NULL while it is open
);
CREATE UNIQUE INDEX trainings_open ON trainings (model, environment) WHERE answered_at IS NULL;
CREATE TRIGGER wake AFTER INSERT OR UPDATE ON trainings FOR EACH ROW EXECUTE FUNCTION wake_deployer();
