"""Settings of the listmonk stand-in: a fresh installation's values, masking, and what a PUT does to them.

An omitted key becomes its zero value, unknown keys vanish, a bullet that is echoed back is stored literally: all as in
listmonk v6.2.0 (facts: listmonk section 2).
"""

from __future__ import annotations

import copy
import json
import re
import uuid
from collections.abc import Mapping
from typing import Any

from dualstream_assets.lab.listmonk_http import HttpError
from dualstream_assets.lab.listmonk_store import Store

BULLET = "\N{BULLET}"
SECRET_FIELDS = ("password", "secret", "shared_secret", "client_secret")
SECRET_KEYS = ("upload.s3.aws_secret_access_key", "bounce.sendgrid_key")

SAMPLE_SERVER: Mapping[str, Any] = {
    "name": "", "uuid": "", "enabled": True, "host": "smtp.yoursite.invalid", "hello_hostname": "", "port": 25,
    "auth_protocol": "cram", "username": "username", "password": "password", "email_headers": [], "max_conns": 10,
    "max_msg_retries": 2, "msg_retry_delay": "10ms", "idle_timeout": "15s", "wait_timeout": "5s",
    "tls_type": "STARTTLS", "tls_skip_verify": False, "from_addresses": [],
}  # fmt: skip
"""The first sample server of an installation: it is enabled."""

FRESH: Mapping[str, Any] = {
    "app.site_name": "Mailing list", "app.root_url": "http://localhost:9000", "app.logo_url": "",
    "app.favicon_url": "", "app.from_email": "listmonk <noreply@listmonk.yoursite.invalid>",
    "app.notify_emails": [], "app.enable_public_subscription_page": True, "app.enable_public_archive": True,
    "app.enable_public_archive_rss_content": True, "app.show_optin_page": True, "app.send_optin_confirmation": True,
    "app.check_updates": True, "app.lang": "en", "app.batch_size": 1000, "app.concurrency": 10,
    "app.max_send_errors": 1000, "app.message_rate": 10, "app.cache_slow_queries": False,
    "app.cache_slow_queries_interval": "0 3 * * *", "app.message_sliding_window": False,
    "app.message_sliding_window_duration": "1h", "app.message_sliding_window_rate": 10000,
    "privacy.individual_tracking": False, "privacy.disable_tracking": False, "privacy.unsubscribe_header": True,
    "privacy.allow_blocklist": True, "privacy.allow_preferences": True, "privacy.allow_export": True,
    "privacy.allow_wipe": True, "privacy.exportable": ["profile", "subscriptions", "campaign_views", "link_clicks"],
    "privacy.record_optin_ip": False, "privacy.domain_blocklist": [], "privacy.domain_allowlist": [],
    "security.captcha": {
        "altcha": {"enabled": False, "complexity": 300000}, "hcaptcha": {"enabled": False, "key": "", "secret": ""},
    },
    "security.oidc": {
        "enabled": False, "provider_url": "", "provider_name": "", "client_id": "", "client_secret": "",
        "auto_create_users": False, "default_user_role_id": None, "default_list_role_id": None,
    },
    "security.trusted_urls": [], "upload.provider": "filesystem",
    "upload.s3.aws_secret_access_key": "",
    "smtp": [SAMPLE_SERVER], "messengers": [], "bounce.enabled": False, "bounce.webhooks_enabled": False,
    "bounce.actions": {
        "soft": {"count": 2, "action": "none"}, "hard": {"count": 1, "action": "blocklist"},
        "complaint": {"count": 1, "action": "blocklist"},
    },
    "bounce.sendgrid_key": "", "bounce.postmark": {"enabled": False, "username": "", "password": ""},
    "bounce.mailboxes": [{
        "uuid": "", "enabled": False, "type": "pop", "host": "pop.yoursite.invalid", "port": 995,
        "auth_protocol": "userpass", "return_path": "bounce@listmonk.yoursite.invalid", "username": "username",
        "password": "password", "tls_enabled": True, "tls_skip_verify": False, "scan_interval": "15m",
    }],
    "maintenance.db": {"vacuum": False, "vacuum_cron_interval": "0 2 * * *"},
}  # fmt: skip


def install(store: Store, changes: Mapping[str, Any], now: Any) -> None:
    """Write a fresh installation's settings, with `changes` on top."""
    values = {**copy.deepcopy(dict(FRESH)), **changes}
    with store.connection() as connection, connection.transaction():
        for key, value in values.items():
            connection.execute(
                "insert into settings (key, value, updated_at) values (%s, %s, %s)",
                (key, json.dumps(value), now),
            )


def read(store: Store) -> dict[str, Any]:
    """Every setting, secrets included."""
    found = {row["key"]: row["value"] for row in store.rows("select key, value from settings")}
    return {key: found[key] for key in FRESH if key in found}


def write(store: Store, values: Mapping[str, Any], now: Any) -> None:
    """Store these keys; unknown ones have no row and vanish."""
    with store.connection() as connection, connection.transaction():
        for key, value in values.items():
            connection.execute(
                "update settings set value = %s, updated_at = %s where key = %s",
                (json.dumps(value), now, key),
            )


def masked(value: Any, key: str = "") -> Any:
    """The settings as GET shows them: one bullet per character of a secret."""
    if isinstance(value, dict):
        return {name: masked(inner, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [masked(inner, key) for inner in value]
    return BULLET * len(value) if isinstance(value, str) and key in (*SECRET_FIELDS, *SECRET_KEYS) else value


def accepted(sent: Mapping[str, Any], current: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that a PUT of `sent` stores.

    Raises:
        HttpError: 400 as listmonk answers: no enabled SMTP server, a name twice, a scan interval below a minute.
    """
    whole = {key: _like(FRESH[key], sent.get(key)) for key in FRESH}
    whole["app.root_url"] = whole["app.root_url"].rstrip("/")
    whole["smtp"] = _servers(sent.get("smtp") or [], current["smtp"])
    for box in whole["bounce.mailboxes"]:
        _keep_secret(box, current["bounce.mailboxes"])
        if not re.fullmatch(r"(\d+h)?(\d+m)(\d+s)?|\d+h", str(box.get("scan_interval", ""))):
            raise HttpError(400, "Bounce scan interval should be minimum 1m.")
    for key in SECRET_KEYS:
        whole[key] = whole[key] or current.get(key, "")
    for key, value in whole.items():
        if isinstance(value, dict) and isinstance(current.get(key), dict):
            for field in SECRET_FIELDS:
                if value.get(field) == "":
                    value[field] = current[key].get(field, "")
    whole["privacy.domain_blocklist"] = [
        d.strip().lower() for d in whole["privacy.domain_blocklist"] if d.strip()
    ]
    whole["privacy.domain_allowlist"] = [
        d.strip().lower() for d in whole["privacy.domain_allowlist"] if d.strip()
    ]
    return whole


def _servers(sent: list[dict[str, Any]], current: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if not any(server.get("enabled") for server in sent):
        raise HttpError(400, "At least one SMTP block should be enabled.")
    names = {"email"}
    servers = []
    for one in sent:
        server = {key: _like(like, one.get(key)) for key, like in SAMPLE_SERVER.items()}
        name = re.sub(r"[^a-z0-9-]", "-", server["name"].strip().lower())
        if name:
            name = name if name.startswith("email-") else f"email-{name}"
            if name in names:
                raise HttpError(400, f"Duplicate messenger name: {name}")
            names.add(name)
        server["name"], server["host"] = name, server["host"].strip()
        _keep_secret(server, current)
        servers.append(server)
    return servers


def _keep_secret(entry: dict[str, Any], current: list[dict[str, Any]]) -> None:
    """An empty password with the UUID of a stored entry keeps the stored one; no UUID gets a new one."""
    if not entry.get("password"):
        stored = [c.get("password", "") for c in current if c.get("uuid", "") == entry.get("uuid", "")]
        entry["password"] = stored[-1] if stored else ""
    entry["uuid"] = entry.get("uuid") or str(uuid.uuid4())


def _like(example: Any, value: Any) -> Any:
    """A value of the example's type; its zero value where nothing was sent.

    Raises:
        HttpError: 400: another type, as the typed decoder of listmonk refuses it.
    """
    if value is None:
        return copy.deepcopy(example) if example is None else type(example)()
    if example is not None and type(value) is not type(example):
        raise HttpError(
            400, f"Unmarshal type error: expected={type(example).__name__}, got={type(value).__name__}"
        )
    return value
