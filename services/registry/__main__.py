"""`python -m services.registry`: the registry as a process."""

from services.chassis import runner
from services.registry.app import run

if __name__ == "__main__":
    runner.main(run)
