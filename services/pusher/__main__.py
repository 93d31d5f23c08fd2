"""`python -m services.pusher`: the pusher as a process."""

from services.chassis import runner
from services.pusher.app import run

if __name__ == "__main__":
    runner.main(run)
