"""A gateway that speaks TLS and takes only callers with a certificate."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import json
import re
import tempfile
from pathlib import Path

import pytest
from client_under_test import find
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from gateway import free_port, launch

AgentHook = find("AgentHook")


class Authority:
    """A certificate authority in a folder; each certificate is a pair of PEM files."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.file, _ = self._write(name, self._key, self._name, is_authority=True)

    def issue(self, name: str) -> tuple[str, str]:
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        return self._write(name, ec.generate_private_key(ec.SECP256R1()), subject, is_authority=False)

    def _write(self, name, key, subject, *, is_authority):
        now = datetime.datetime.now(datetime.timezone.utc)
        built = (
            x509.CertificateBuilder(self._name, subject, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
            )
            .sign(self._key, hashes.SHA256())
        )
        certificate, secret = self._folder / f"{name}.pem", self._folder / f"{name}-key.pem"
        certificate.write_bytes(built.public_bytes(serialization.Encoding.PEM))
        secret.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return str(certificate), str(secret)


@pytest.fixture(scope="module")
def authority():
    with tempfile.TemporaryDirectory(prefix="sluice-airflow-tls-") as folder:
        yield Authority(Path(folder), "authority")


@pytest.fixture(scope="module")
def address(authority):
    """Extra that names the gateway, without a certificate to show."""
    folder = Path(authority.file).parent
    certificate, key = authority.issue("gateway")
    port = free_port()
    options = ["--tls-cert", certificate, "--tls-key", key, "--tls-client-ca", authority.file]
    command = ["up", "--listen", f"127.0.0.1:{port}", "--data", str(folder / "data"), *options]
    process, _ = launch(command, folder / "gateway.log", "is up at")
    api_key = re.search(r"^SLUICE_API_KEY=(.+)$", (folder / "data" / "key.env").read_text(), re.MULTILINE)[1]
    yield {"gateway_url": f"https://127.0.0.1:{port}", "agent_token": api_key}
    process.terminate()
    process.wait(60)


@pytest.fixture
def connect(address, monkeypatch):
    """Makes this Extra the connection's."""

    def connect_with(**extra):
        connection = {"conn_type": "http", "extra": {**address, **extra}}
        monkeypatch.setenv("AIRFLOW_CONN_AGENT_DEFAULT", json.dumps(connection))
        return AgentHook()

    return connect_with


def test_a_client_certificate_opens_the_gateway(connect, authority, address):
    certificate, key = authority.issue("client")
    hook = connect(client_cert=certificate, client_key=key)
    assert hook.test_connection() == (True, f"The gateway at {address['gateway_url']} answers")

    async def list_jobs():
        client = find("AsyncGatewayClient")(hook.address)
        try:
            return await client.send(find("list_jobs")({}))
        finally:
            await client.close()

    assert asyncio.run(list_jobs())["items"] == []


def test_both_may_be_in_one_file(connect, authority):
    certificate, key = authority.issue("both")
    Path(certificate).write_text(Path(certificate).read_text() + Path(key).read_text())
    assert connect(client_cert=certificate).test_connection()[0]


def test_without_one_the_gateway_does_not_answer(connect):
    answered, message = connect().test_connection()
    assert not answered
    assert "does not answer" in message


def test_one_of_another_authority_is_not_taken(connect, authority):
    certificate, key = Authority(Path(authority.file).parent, "stranger").issue("of-a-stranger")
    assert not connect(client_cert=certificate, client_key=key).test_connection()[0]


def test_a_file_that_is_not_there_is_named(connect):
    answered, message = connect(client_cert="/nowhere/client.pem").test_connection()
    assert not answered
    assert "client_cert /nowhere/client.pem cannot be used" in message


def test_the_gateways_certificate_is_verified_only_where_it_is_asked_for(connect, authority, monkeypatch):
    certificate, key = authority.issue("verifying")
    shown = {"client_cert": certificate, "client_key": key}
    answered, message = connect(**shown, verify_ssl=True).test_connection()
    assert not answered
    assert "CERTIFICATE_VERIFY_FAILED" in message
    monkeypatch.setenv("SSL_CERT_FILE", authority.file)
    assert connect(**shown, verify_ssl=True).test_connection()[0]
