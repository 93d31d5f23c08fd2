"""`golden retire`: a deployment ends, or a version is out of use for good."""

from __future__ import annotations

from golden.commands.deployments import Environment, Epoch, Reason, Version, show
from golden.output import Json, console, print_json
from golden.references import reference
from golden.session import connect
from goldenpath.deployer.v1 import deployer_service_pb2 as deployer
from goldenpath.registry.v1 import registry_service_pb2 as registry
from services.chassis.errors import Invalid


def retire(
    version: Version, *, reason: Reason, env: Environment = "production", epoch: Epoch = 0, json: Json = False
) -> None:
    """End a deployment (MODEL), or take a version that serves nowhere out of use for good (MODEL@N)."""
    asked = reference(version)
    if not asked.version:
        request = deployer.RetireRequest(model=asked.model, environment=env, reason=reason, epoch=epoch)
        show(connect().deployer.Retire(request).deployment, json=json)
        return
    if epoch:
        raise Invalid("a version has no epoch", where="--epoch", fix=f"golden retire {asked} --reason ...")
    answer = connect().registry.RetireVersion(
        registry.RetireVersionRequest(model=asked.model, version=asked.version, reason=reason)
    )
    if json:
        print_json(answer)
    else:
        console.print(f"{asked} is out of use. Its history stays:  golden trace {asked}")
