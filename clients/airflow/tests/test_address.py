from __future__ import annotations

import json

import pytest
from client_under_test import find

AirflowException = find("AirflowException")
Connection = find("Connection")
read_address = find("read_address")


def address(host=None, schema=None, port=None, **extra):
    extra = {"agent_token": "key", **extra}
    return read_address(
        Connection(
            conn_id="agent_default", conn_type="http", host=host, schema=schema, port=port, extra=json.dumps(extra)
        )
    )


def test_the_gateway_is_named_by_extra_else_by_the_environment_else_by_the_host(monkeypatch):
    monkeypatch.setenv("AIRFLOW__SLUICE__GATEWAY_URL", "http://configured:1/")
    monkeypatch.setenv("SLUICE_URL", "http://environment:1")
    assert address(host="host", gateway_url="https://extra:1/").url == "https://extra:1"
    assert address(host="host").url == "http://environment:1"
    monkeypatch.delenv("SLUICE_URL")
    assert address(host="host").url == "http://configured:1"
    monkeypatch.delenv("AIRFLOW__SLUICE__GATEWAY_URL")
    assert address(host="host", schema="https", port=8443).url == "https://host:8443"
    assert address(host="https://host/").url == "https://host"
    assert address(host="host").url == "http://host"


def test_no_host_anywhere_is_an_error_that_says_so():
    with pytest.raises(AirflowException, match="names no gateway"):
        address()


def test_a_connection_without_a_key_is_an_error_that_says_so():
    with pytest.raises(AirflowException, match="has no agent_token"):
        address(host="host", agent_token="")


def test_an_extra_that_is_no_object_is_an_error_that_says_so():
    connection = Connection(conn_id="agent_default", conn_type="http", host="host", extra="not json")
    with pytest.raises(AirflowException, match="is not a JSON object"):
        read_address(connection)


@pytest.mark.parametrize(
    ("written", "meant"), [(None, False), (True, True), ("true", True), ("False", False), (0, False), ("", False)]
)
def test_verify_ssl_is_off_unless_it_says_otherwise(written, meant):
    assert address(host="host", verify_ssl=written).verify_ssl is meant


def test_the_key_is_not_shown():
    assert "key" not in repr(address(host="host"))


def test_a_peer_that_is_no_gateway_is_named_as_that(gateway, monkeypatch):
    agent = f"http://127.0.0.1:{gateway.agent_port}"
    monkeypatch.setenv("AIRFLOW_CONN_AGENT_DEFAULT", gateway.connection(gateway_url=agent.replace("http", "https")))
    answered, message = find("AgentHook")().test_connection()
    assert not answered
    assert "is no Sluice gateway" in message


def test_the_hook_tests_its_connection(gateway, monkeypatch):
    assert find("AgentHook")().test_connection() == (True, f"The gateway at {gateway.url} answers")
    monkeypatch.setenv("AIRFLOW_CONN_AGENT_DEFAULT", gateway.connection(agent_token="wrong"))
    answered, message = find("AgentHook")().test_connection()
    assert not answered
    assert "401 unauthenticated" in message
    monkeypatch.setenv("AIRFLOW_CONN_AGENT_DEFAULT", '{"conn_type": "http", "extra": {"agent_token": "key"}}')
    answered, message = find("AgentHook")().test_connection()
    assert not answered
    assert "names no gateway" in message
