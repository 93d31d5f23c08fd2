"""`python -m services.deployer`."""

from services.chassis.runner import main
from services.deployer.app import run

main(run)
