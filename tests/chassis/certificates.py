"""A certificate of its own making, and a door for PostgreSQL that shows it: the embedded one speaks no TLS itself."""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from services.chassis.clock import SystemClock

_SSL_REQUEST: Final = (8).to_bytes(4, "big") + (80877103).to_bytes(4, "big")  # protocol-message-formats: SSLRequest
_CHUNK: Final = 65_536


class Certificate(NamedTuple):
    """A certificate for 127.0.0.1 that is its own authority.

    Args:
        chain: The file of the certificate, PEM.
        key: The file of its private key, PEM.
    """

    chain: Path
    key: Path

    @property
    def both(self) -> str:
        """Key and certificate in one text, as Kafka wants them."""
        return self.key.read_text() + self.chain.read_text()


def certificate_in(folder: Path) -> Certificate:
    """Make one."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "registry")])
    now = SystemClock().now()
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    chain, secret = folder / "chain.pem", folder / "key.pem"
    chain.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    pkcs8, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    secret.write_bytes(key.private_bytes(serialization.Encoding.PEM, pkcs8, plain))
    return Certificate(chain, secret)


@asynccontextmanager
async def encrypted_door(port: int, certificate: Certificate) -> AsyncIterator[int]:
    """A port of 127.0.0.1 where clients that ask for TLS are let through to PostgreSQL's; the others aren't."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)

    async def let_in(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if await reader.readexactly(len(_SSL_REQUEST)) == _SSL_REQUEST:
                writer.write(b"S")
                await writer.start_tls(context)
                inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
                await asyncio.gather(_pass_on(reader, inner_writer), _pass_on(inner_reader, writer))
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client went, perhaps since it doesn't trust the certificate
        finally:
            writer.close()

    server = await asyncio.start_server(let_in, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while told := await reader.read(_CHUNK):
            writer.write(told)
            await writer.drain()
    finally:
        writer.close()
