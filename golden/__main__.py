"""`golden`: one command from a notebook to governed, watched production.

Each command is a function in `golden/commands/`, and is added here under the heading that a newcomer would look
under. Commands import what they need when they run, so that `golden --help` answers at once.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

if TYPE_CHECKING:
    from services.chassis.errors import GoldenpathError

_GROUPS: Final = {
    "The platform": {
        "up": "platform",
        "down": "platform",
        "status": "platform",
        "doctor": "platform",
        "setup": "platform",
        "env": "environment",
        "demo": "demo",
    },
    "Your model": {
        "register": "register",
        "explain": "approvals",
        "predict": "predict",
        "features": "features",
        "monitor": "monitor",
        "tolerances": "monitor",
        "retrain": "training",
        "trainer": "training",
        "signals": "watching",
        "watch": "watching",
        "trace": "traces",
    },
    "Review": {
        "waiting": "approvals",
        "approve": "approvals",
        "deny": "approvals",
        "revoke": "approvals",
        "audit": "audit",
    },
    "Serving": {
        "deploy": "deployments",
        "promote": "deployments",
        "abort": "deployments",
        "rollback": "deployments",
        "hold": "deployments",
        "release": "deployments",
        "retire": "retiring",
        "history": "deployments",
        "decisions": "deployments",
    },
    "Operations": {"events": "events", "deadletters": "deadletters", "rebuild": "rebuild", "token": "token"},
}


def build(wanted: str = "") -> typer.Typer:
    """The command line.

    Args:
        wanted: The command that will run: only its module is imported. Empty: all of them, for help and completion.
    """
    app = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode="rich",
        help="From a notebook to governed, watched production, and back by itself when a model fails.",
        epilog="Start here:  golden demo   ·   golden up   ·   golden register",
        pretty_exceptions_enable=False,
    )
    app.callback()(root)
    for panel, commands in _GROUPS.items():
        for name, module in commands.items():
            if wanted in {"", name}:
                _add(app, panel, name, import_module(f"golden.commands.{module}"))
    return app


def _add(app: typer.Typer, panel: str, name: str, module: Any) -> None:
    group = getattr(module, "app", None)
    if group is not None:
        app.add_typer(group, name=name, rich_help_panel=panel)
    else:
        app.command(name, rich_help_panel=panel)(getattr(module, name))


def root(
    *,
    acting_as: Annotated[
        str, typer.Option("--as", metavar="NAME[:ROLE,…]", help="Act as somebody else, on this machine's platform.")
    ] = "",
) -> None:
    """Who acts, for all commands."""
    from golden.session import ACTING_AS

    ACTING_AS.set(acting_as)


def main() -> None:
    """Run a command; what is foreseen to go wrong ends with a sentence and status 1, not with a stack."""
    try:
        build(_wanted(sys.argv[1:]))(prog_name="golden")  # however it was started
    except Exception as failure:
        error = _foreseen(failure)
        if error is None:
            raise
        from golden.output import show_error

        show_error(error)
        sys.exit(1)


def _foreseen(failure: Exception) -> GoldenpathError | None:
    """The error to show; None where nobody thought of it, and its stack is what helps."""
    from grpc import RpcError

    from golden.connection import error_of
    from services.chassis.errors import GoldenpathError, Invalid

    if isinstance(failure, GoldenpathError):
        return failure
    if isinstance(failure, RpcError):
        return error_of(failure)
    if isinstance(failure, OSError) and failure.filename is not None:  # a file that the person named
        return Invalid(failure.strerror or str(failure), where=str(failure.filename))
    return None


def _wanted(arguments: list[str]) -> str:
    """The command among the arguments, where there surely is one."""
    known = {name for commands in _GROUPS.values() for name in commands}
    words = iter(arguments)
    for word in words:
        if word == "--as":
            next(words, "")  # whom it names is no command
        elif not word.startswith("-"):
            return word if word in known else ""
    return ""


if __name__ == "__main__":
    main()
