"""What Airflow itself makes of the installed package: the type of connection, its form, and the link to a job."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from client_under_test import AIRFLOW_3, find
from conftest import SINGLE_FILE

FIELDS = {"gateway_url", "agent_token", "verify_ssl", "client_cert", "client_key", "deferrable", "instance"}
ASK = """
import json
from airflow.providers_manager import ProvidersManager
manager = ProvidersManager()
hook = manager.hooks["sluice"]
widgets = {name: field for name, field in manager.connection_form_widgets.items() if "__sluice__" in name}
print(json.dumps({
    "hook": [hook.hook_class_name, hook.hook_name, hook.connection_id_attribute_name],
    "fields": sorted(field.field_name for field in widgets.values()),
    "secret": [field.field_name for field in widgets.values() if field.is_sensitive],
    "hidden": manager.field_behaviours["sluice"]["hidden_fields"],
    "links": [link for link in manager.extra_links_class_names if "sluice" in link],
}))
"""


@pytest.mark.skipif(SINGLE_FILE, reason="a file in the plugins folder has no provider's info")
@pytest.mark.skipif("SLUICE_PACKAGE" not in os.environ, reason="the package is not installed anywhere")
def test_airflow_finds_the_type_of_connection_its_form_and_the_link():
    environment = {**os.environ, "PYTHONPATH": os.environ["SLUICE_PACKAGE"]}
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", ASK], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["hook"] == ["airflow_provider_sluice.hook.AgentHook", "Sluice gateway", "agent_conn_id"]
    assert set(found["fields"]) == FIELDS
    # Airflow 2 shows what the widget hides.
    assert found["secret"] == (["agent_token"] if AIRFLOW_3 else found["secret"])
    assert found["hidden"] == ["login", "password"]
    assert found["links"] == ["airflow_provider_sluice.links.AgentJobLink"]


def test_the_form_asks_for_all_that_is_read_of_extra_and_nothing_else():
    extra = {name: f"a {name}" for name in FIELDS} | {"verify_ssl": True, "deferrable": False}
    connection = find("Connection")(conn_id="agent_default", conn_type="sluice", extra=json.dumps(extra))
    address = find("read_address")(connection)
    assert (address.url, address.api_key, address.instance) == ("a gateway_url", "a agent_token", "a instance")
    assert (address.client_cert, address.client_key) == ("a client_cert", "a client_key")
    assert (address.verify_ssl, address.deferrable) == (True, False)
    assert set(find("FORM_FIELDS")) == FIELDS


@pytest.mark.skipif(AIRFLOW_3, reason="Airflow 3.2 and later import no form's library")
def test_the_widgets_of_airflow_2_hide_the_key_and_verify_unless_told_otherwise():
    widgets = find("AgentHook").get_connection_form_widgets()
    assert set(widgets) == FIELDS
    assert widgets["agent_token"].field_class.__name__ == "PasswordField"
    assert widgets["verify_ssl"].kwargs["default"] is True
