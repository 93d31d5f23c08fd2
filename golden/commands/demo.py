"""`golden demo`: the main job, live in the terminal, on real data."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from golden.output import console, escape
from services.chassis.errors import GoldenpathError

NoDrift = Annotated[bool, typer.Option("--no-drift", help="Nothing breaks: 1995's real traffic on the 1994 model.")]
Keep = Annotated[bool, typer.Option("--keep", help="Leave the platform running afterwards.")]
Home = Annotated[Path | None, typer.Option("--home", help="Where the demo keeps its platform; emptied first.")]
Patience = Annotated[float, typer.Option("--patience", help="Seconds that any one thing may take.", min=5)]
Broken = Annotated[str, typer.Option("--sabotage", hidden=True, help="Break something, so that the demo must fail.")]
Trained = Annotated[
    list[str] | None, typer.Option("--trained", hidden=True, help="A version's run, in --home already.")
]


def demo(
    *,
    no_drift: NoDrift = False,
    keep: Keep = False,
    home: Home = None,
    patience: Patience = 90.0,
    sabotage: Broken = "",
    trained: Trained = None,
) -> None:
    """Train, gate, deploy, canary, drift, hold, roll back: shown on real census records, and checked."""
    from golden.demo.performance import Performance
    from golden.demo.sabotage import Sabotage

    play = Performance(
        home=home,
        patience=timedelta(seconds=patience),
        no_drift=no_drift,
        keep=keep,
        sabotage=Sabotage(sabotage),
        trained=trained or (),
        console=console,
    )
    try:
        play.run()
    except GoldenpathError as error:
        console.print(f"\n[red]The demo failed:[/red] {escape(str(error))}")
        console.print(f"  Its logs are in {escape(str(play.home))}")
        raise typer.Exit(1) from None
