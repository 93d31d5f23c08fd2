-- What the deployer owns. A deployment's row is locked by whoever changes anything about it.

CREATE TABLE deployments (
    model       text NOT NULL,
    environment text NOT NULL,
    state       jsonb NOT NULL,          -- domain/deployment.py
    effective_at timestamptz,            -- when the proxy last showed what was decided
    PRIMARY KEY (model, environment)
);

-- What is known of a version here, so that going back waits for nobody.
CREATE TABLE versions (
    model              text NOT NULL,
    environment        text NOT NULL,
    version            integer NOT NULL,
    digest             text NOT NULL,
    environment_digest text NOT NULL,
    input_example      text NOT NULL,
    policy             jsonb NOT NULL,   -- domain/policy.py
    reference          jsonb,            -- edges and counts of its scores, where its profile has them
    verdict_id         text NOT NULL,
    revoked            boolean NOT NULL DEFAULT false,
    unusable           boolean NOT NULL DEFAULT false,
    PRIMARY KEY (model, environment, version)
);

CREATE TABLE rollouts (
    id          uuid PRIMARY KEY,
    number      bigint GENERATED ALWAYS AS IDENTITY,
    model       text NOT NULL,
    environment text NOT NULL,
    version     integer NOT NULL,
    state       text NOT NULL,
    body        jsonb NOT NULL,          -- domain/rollout.py
    progress    jsonb NOT NULL DEFAULT '{}', -- the step's readings; store/rollouts.py
    traceparent text NOT NULL,
    started_at  timestamptz NOT NULL,
    changed_at  timestamptz NOT NULL,
    ended_at    timestamptz
);
CREATE INDEX rollouts_by_place ON rollouts (model, environment, number DESC);
CREATE INDEX rollouts_going_on ON rollouts (model, environment) WHERE ended_at IS NULL;

-- Each stay of a version as the stable of a deployment.
CREATE TABLE stays (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    model          text NOT NULL,
    environment    text NOT NULL,
    version        integer NOT NULL,
    digest         text NOT NULL,
    epoch          bigint NOT NULL,
    requests       bigint NOT NULL DEFAULT 0,
    reading        bigint NOT NULL DEFAULT 0, -- the proxy's own count when `requests` was last raised
    signalled      boolean NOT NULL DEFAULT false,
    left_for_cause boolean NOT NULL DEFAULT false
);
CREATE INDEX stays_by_place ON stays (model, environment, id);

-- What happened, and what was decided and isn't in effect yet: its event is told once the proxy shows it.
CREATE TABLE history (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    model        text NOT NULL,
    environment  text NOT NULL,
    type         text NOT NULL,
    body         bytea NOT NULL,         -- the event's body, without effective_at until it is in effect
    sentence     text NOT NULL,
    actor        text NOT NULL,
    traceparent  text NOT NULL,
    decided_at   timestamptz NOT NULL,
    effective_at timestamptz
);
CREATE INDEX history_by_place ON history (model, environment, id DESC);
CREATE INDEX history_pending ON history (id) WHERE effective_at IS NULL;

-- What was decided about a signal or by a person, and the numbers. A signal that waits for its decision is open.
CREATE TABLE decisions (
    id          uuid PRIMARY KEY,
    number      bigint GENERATED ALWAYS AS IDENTITY,
    model       text NOT NULL,
    environment text NOT NULL,
    signal_id   text NOT NULL,
    signal      jsonb,
    cleared     boolean NOT NULL DEFAULT false,
    body        bytea,                   -- goldenpath.deployer.v1.Decision; NULL while it is open
    received_at timestamptz NOT NULL,
    traceparent text NOT NULL
);
CREATE UNIQUE INDEX decisions_by_signal ON decisions (signal_id) WHERE signal_id <> '';
CREATE INDEX decisions_by_place ON decisions (model, environment, number DESC);
CREATE INDEX decisions_open ON decisions (number) WHERE body IS NULL;

-- Server processes: the row comes first, so that a process whose start was interrupted is found again by its id.
CREATE TABLE endpoints (
    id           uuid PRIMARY KEY,
    model        text NOT NULL,
    environment  text NOT NULL,
    version      integer NOT NULL,
    digest       text NOT NULL,
    http_address text NOT NULL,
    grpc_address text NOT NULL,
    pid          bigint,
    started_at   double precision,       -- seconds since the epoch, as the operating system tells it
    ready        boolean NOT NULL DEFAULT false,
    made_at      timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX endpoints_by_place ON endpoints (model, environment, version);

-- Whoever changes something wakes the jobs that make it so, and the watchers: polling would add its period to every step.
CREATE FUNCTION wake_deployer() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('deployer', '');
    RETURN NULL;
END
$$;
CREATE TRIGGER wake AFTER INSERT OR UPDATE ON deployments FOR EACH ROW EXECUTE FUNCTION wake_deployer();
CREATE TRIGGER wake AFTER INSERT OR UPDATE OF state ON rollouts FOR EACH ROW EXECUTE FUNCTION wake_deployer();
CREATE TRIGGER wake AFTER INSERT OR UPDATE ON history FOR EACH ROW EXECUTE FUNCTION wake_deployer();
CREATE TRIGGER wake AFTER INSERT OR UPDATE ON decisions FOR EACH ROW EXECUTE FUNCTION wake_deployer();
CREATE TRIGGER wake AFTER UPDATE OR DELETE ON endpoints FOR EACH ROW EXECUTE FUNCTION wake_deployer();
