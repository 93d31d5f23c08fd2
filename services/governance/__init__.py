"""Governance: which version may serve, who allowed it, on what evidence, and the proof.

Owns      policies, verdicts with their evidence, reviewers' decisions, what served when, the append-only log
Consumes  registry.events (model.registered, model.retired, dataset.registered), deployer.events (every effect);
          and, for the log, the raw bytes of every control topic and of inference.records
Emits     governance.events: model.approved, model.rejected, approval.requested, approval.granted, approval.denied,
          approval.revoked, policy.changed
Serves    gRPC goldenpath.governance.v1.GovernanceService; the same reads on HTTP
Asks      the registry, for the facts as they are now

The life of a verdict. model.registered says: look. The facts are asked from the registry, compared with those that
stand (the revision rises if they differ), and judged by the policy that applies; the verdict, a row of evidence per
rule, is kept with the facts that it judged, and told if it is news. A new datasheet, a new policy and a reviewer's
word lead down the same path.
"""
