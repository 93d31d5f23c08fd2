-- What the registry knows. Every column that something is searched or joined by stands alone; what is only ever read
-- whole (files, metrics, settings) is one JSON body per version. See store.py.

CREATE TABLE projects (
    name       text PRIMARY KEY,
    model      text NOT NULL,
    owner      text NOT NULL,
    started_at timestamptz NOT NULL
);

CREATE TABLE models (
    name           text PRIMARY KEY,
    kind           text NOT NULL,
    risk_tier      smallint NOT NULL,
    owner          text NOT NULL,
    use_case       text NOT NULL,
    latest_version integer NOT NULL DEFAULT 0,
    created_at     timestamptz NOT NULL
);

CREATE TABLE profiles (
    digest  text PRIMARY KEY,
    content bytea NOT NULL
);

-- ids rise in the order of commits, since registrations take turns.
CREATE TABLE versions (
    id                 bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    model              text NOT NULL REFERENCES models,
    number             integer NOT NULL,
    artifact_digest    text NOT NULL,
    project            text NOT NULL,
    mlflow_run         text NOT NULL,
    profile_digest     text NOT NULL,
    reference_log_loss double precision NOT NULL,
    body               json NOT NULL,
    registered_by      text NOT NULL,
    verified           boolean NOT NULL,
    registered_at      timestamptz NOT NULL,
    traceparent        text NOT NULL,
    retired            boolean NOT NULL DEFAULT false,
    PRIMARY KEY (model, number),
    UNIQUE (model, artifact_digest)
);
CREATE INDEX versions_by_artifact ON versions (artifact_digest);

CREATE TABLE datasets (
    name     text NOT NULL,
    version  integer NOT NULL,
    digest   text NOT NULL,
    revision integer NOT NULL,
    PRIMARY KEY (name, version),
    UNIQUE (name, digest)
);

-- Every revision of every datasheet, for good.
CREATE TABLE datasheets (
    name          text NOT NULL,
    version       integer NOT NULL,
    revision      integer NOT NULL,
    document      text NOT NULL,
    answers       json NOT NULL,
    owner         text NOT NULL,
    licence       text NOT NULL,
    personal_data text NOT NULL,
    period_start  timestamptz,
    period_end    timestamptz,
    registered_by text NOT NULL,
    verified      boolean NOT NULL,
    registered_at timestamptz NOT NULL,
    PRIMARY KEY (name, version, revision),
    FOREIGN KEY (name, version) REFERENCES datasets
);

CREATE TABLE version_datasets (
    model           text NOT NULL,
    number          integer NOT NULL,
    dataset         text NOT NULL,
    dataset_version integer NOT NULL,
    PRIMARY KEY (model, number, dataset, dataset_version),
    FOREIGN KEY (model, number) REFERENCES versions,
    FOREIGN KEY (dataset, dataset_version) REFERENCES datasets
);
CREATE INDEX versions_by_dataset ON version_datasets (dataset);

-- What aliases point to (until is null) and pointed to; a champion's rows are where a version served.
CREATE TABLE aliases (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    model   text NOT NULL,
    alias   text NOT NULL,
    version integer NOT NULL,
    epoch   bigint NOT NULL,
    since   timestamptz NOT NULL,
    until   timestamptz,
    FOREIGN KEY (model, version) REFERENCES versions (model, number)
);
CREATE UNIQUE INDEX aliases_now ON aliases (model, alias) WHERE until IS NULL;
CREATE INDEX aliases_by_model ON aliases (model, id);
