"""
The form for connections of the type ``sluice``: each field is a key of Extra, which ``address.py`` reads.

Airflow 3.2 and later take it from the provider's info and import nothing for it; older ones ask the hook for widgets.
Both are made from the one list here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class FormField:
    label: str
    description: str
    #: ``string``, ``password`` or ``boolean``.
    kind: str = "string"
    #: What a new connection begins with; Extra without the key may mean something else.
    default: bool | None = None


FORM_FIELDS = {
    "gateway_url": FormField("Gateway URL", "Such as https://gateway:8443; else SLUICE_URL, else the host"),
    "agent_token": FormField("API key", "Of the gateway; scopes jobs:submit, jobs:read, jobs:cancel", "password"),
    "verify_ssl": FormField("Verify certificate", "Whether the gateway's certificate is verified", "boolean", True),
    "client_cert": FormField("Client certificate", "A PEM file on every worker and triggerer"),
    "client_key": FormField("Client key", "A PEM file on every worker and triggerer"),
    "deferrable": FormField("Deferrable", "Off: tasks wait in their workers, not in the triggerer", "boolean", True),
    "instance": FormField("Instance", "Keeps two Airflows with the same DAGs apart; by default the base URL"),
}
#: What the form does not ask for: the address has fields of its own.
HIDDEN_FIELDS = ["login", "password"]
RELABELED_FIELDS = {"schema": "Schema (http, https)"}


def declared_fields() -> dict[str, Any]:
    """``conn-fields`` of the provider's info."""
    declared: dict[str, Any] = {}
    for name, field in FORM_FIELDS.items():
        schema: dict[str, Any] = {"type": ["boolean" if field.kind == "boolean" else "string", "null"]}
        if field.kind == "password":
            schema["format"] = "password"
        if field.default is not None:
            schema["default"] = field.default
        declared[name] = {"label": field.label, "description": field.description, "schema": schema}
    return declared


def declared_behaviour() -> dict[str, Any]:
    """``ui-field-behaviour`` of the provider's info."""
    return {"hidden-fields": HIDDEN_FIELDS, "relabeling": RELABELED_FIELDS}


def form_widgets() -> dict[str, Any]:
    """What Airflow 2 and 3.0 ask the hook for; the libraries of their forms are imported only then."""
    from flask_appbuilder.fieldwidgets import BS3PasswordFieldWidget, BS3TextFieldWidget
    from wtforms import BooleanField, PasswordField, StringField

    widgets: dict[str, Any] = {}
    for name, field in FORM_FIELDS.items():
        said = {"label": field.label, "description": field.description}
        if field.kind == "boolean":
            widgets[name] = BooleanField(**said, default=field.default)
        elif field.kind == "password":
            widgets[name] = PasswordField(**said, widget=BS3PasswordFieldWidget())
        else:
            widgets[name] = StringField(**said, widget=BS3TextFieldWidget())
    return widgets
