"""The registry: which models and versions there are, what they were made from, and the bytes behind them.

Owns:     models, versions, datasets and their datasheets, aliases with their history, lineage, the artifact store.
Consumes: ingest.events    training.completed, dataset.documented, project.started
          deployer.events  deployment.promoted, deployment.rolled_back, deployment.retired: aliases follow the traffic
Emits:    registry.events  model.registered, model.promoted, model.demoted, model.retired, dataset.registered,
                           event.rejected
Serves:   goldenpath.registry.v1.RegistryService over gRPC, and the same as JSON over HTTP under /v1.

A version comes in by three doors: a command (gRPC or HTTP, which is also what the command line uses) and the event
training.completed. All three end in the same handler:

    edge → domain.checked → clients.mlflow brings the run's files into the artifact store, outside any transaction
         → handlers.register_version: datasets, model, version, events, in one transaction

The digest of the bytes names a version, so whatever comes twice, by whatever door, gives the same one. The registry
never opens a model: files are bytes, and scores are a column that the run logged.
"""
