"""`python -m services.governance`: runs the service until SIGTERM."""

from services.chassis import runner
from services.governance.app import run

if __name__ == "__main__":
    runner.main(run)
