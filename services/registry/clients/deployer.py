"""The deployer, as the registry sees it: where a version serves, as it is now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from goldenpath.deployer.v1 import deployer_service_pb2 as pb
from goldenpath.deployer.v1.deployer_service_pb2_grpc import DeployerServiceStub
from services.chassis.grpc_client import Sibling

if TYPE_CHECKING:
    from goldenpath.deployer.v1.deployer_service_pb2_grpc import DeployerServiceAsyncStub

_PAGE: Final = 1000


class Deployments:
    """Asks the deployer by gRPC.

    Args:
        deployer: The deployer; where this installation has none, nothing serves.
    """

    def __init__(self, deployer: Sibling) -> None:
        self._deployer = deployer

    async def of_version(self, model: str, version: int) -> list[str]:
        """The environments in which a version serves, or to which it would come back.

        Raises:
            Unavailable: the deployer doesn't answer.
        """
        if not self._deployer.here:
            return []
        stub: DeployerServiceAsyncStub = DeployerServiceStub(self._deployer.channel)
        found: list[str] = []
        token, more = "", True
        while more:
            asked = pb.ListDeploymentsRequest(page_size=_PAGE, page_token=token)
            answer = await self._deployer.ask(stub.ListDeployments, asked)
            found += [one.position.environment for one in answer.deployments if _holds(one, model, version)]
            token = answer.next_page_token
            more = bool(token)
        return found


def _holds(deployment: pb.Deployment, model: str, version: int) -> bool:
    position = deployment.position
    versions = (
        position.stable_version,
        position.candidate_version,
        position.holdback_version,
        deployment.warm_version,
        deployment.queued_version,
    )
    return position.model == model and version in versions
