"""`python -m services.monitor`: runs the service until SIGTERM."""

from services.chassis import runner
from services.monitor.app import run

if __name__ == "__main__":
    runner.main(run)
