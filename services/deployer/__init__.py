"""The deployer: what serves, with how much of the traffic, and when it is taken back.

Owns      deployments, rollouts, server processes, decisions; the proxy's clusters and routes
Consumes  governance.events (model.approved, approval.revoked), monitor.events (drift.detected, drift.cleared,
          performance.degraded, data_quality.violated),
          registry.events (model.registered, model.retired)
Emits     deployer.events (deployment.started, advanced, promoted, rollback_decided, rolled_back, held, released,
          failed, retired), training.requested
Serves    gRPC goldenpath.deployer.v1.DeployerService; HTTP: /v1/deployments, and what every service has

What is decided is a row; five leased jobs make it so, and running any of them twice changes nothing:

    servers     every stable, candidate and warm version has its server processes
    rollouts    a rollout takes its next step, once a judge and governance allow it
    decisions   a signal is answered: go back, hold, or train again
    guard       a stable is compared with the version before it, where units stayed with that one
    routing     the proxy sends the traffic where it was decided, and says so
"""
