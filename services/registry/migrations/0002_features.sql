-- Which feature views a version reads, and how they were defined then: a broken view names the versions at risk.
CREATE TABLE version_features (
    model   text NOT NULL,
    number  integer NOT NULL,
    view    text NOT NULL,
    digest  text NOT NULL,
    PRIMARY KEY (model, number, view),
    FOREIGN KEY (model, number) REFERENCES versions
);
CREATE INDEX versions_by_feature_view ON version_features (view);
