"""Postfix's own files as text: services, blocks of ours, one option of a service that is not ours."""

from __future__ import annotations

import pytest

from dualstream_assets.mta.files import (
    STOCK_MASTER,
    block_of,
    desired,
    entries,
    with_block,
    with_option,
    without_foreign,
)

MASTER = """\
# a comment
smtp      inet  n       -       y       -       -       smtpd
  -o syslog_name=postfix/trucking
# between
  -o { smtpd_client_restrictions = check_policy_service { inet:127.0.0.1:9, timeout=1s }, reject }

pickup    unix  n       -       y       60      1       pickup
out05     unix  -       -       y       -       -       smtp -o smtp_bind_address=192.0.2.94
"""


def test_services_are_read_with_nested_and_plain_options():
    smtp, pickup, out05 = entries(MASTER)
    assert (smtp.service, smtp.command) == ("smtp/inet", "smtpd")
    assert smtp.options == {
        "syslog_name": "postfix/trucking",
        "smtpd_client_restrictions": "check_policy_service { inet:127.0.0.1:9, timeout=1s }, reject",
    }
    assert pickup.options == {}
    assert out05.options == {"smtp_bind_address": "192.0.2.94"}


def test_a_block_is_put_at_the_end_replaced_in_place_and_read_back():
    once = with_block(MASTER, "hc", "hcout1 unix - - n - 2 smtp\n")
    assert once.startswith(MASTER)
    assert block_of(once, "hc") == "hcout1 unix - - n - 2 smtp\n"
    again = with_block(once + "later unix - - n - - smtp\n", "hc", "hcout2 unix - - n - 2 smtp\n")
    assert block_of(again, "hc") == "hcout2 unix - - n - 2 smtp\n"
    assert "hcout1" not in again
    assert again.endswith("later unix - - n - - smtp\n")
    assert block_of(MASTER, "hc") is None


def test_older_forms_of_our_services_go_by_name_and_by_port():
    old = MASTER + (
        "hcout1 unix - - y - - smtp\n  -o smtp_bind_address=192.0.2.107\n"
        "172.18.0.1:2526 inet n - y - - smtpd\n  -o content_filter=hcout1:\n"
        "2527 inet n - y - - smtpd\n"
    )
    ours = "hcout1 unix - - n - 2 smtp\n127.0.0.1:2526 inet n - n - 9 smtpd\n127.0.0.1:2527 inet n - n - 9 smtpd\n"
    assert without_foreign(old, entries(ours)) == MASTER
    inside = with_block(MASTER, "hc", ours)
    assert without_foreign(inside, entries(ours)) == inside


def test_one_option_is_set_in_place_and_nothing_else_moves():
    changed = with_option(MASTER, "pickup/unix", "cleanup_service_name", "pkcleanup")
    assert changed.replace("    -o cleanup_service_name=pkcleanup\n", "") == MASTER
    assert with_option(changed, "pickup/unix", "cleanup_service_name", "pkcleanup") == changed
    other = with_option(changed, "pickup/unix", "cleanup_service_name", "other")
    assert [e.options for e in entries(other) if e.name == "pickup"] == [{"cleanup_service_name": "other"}]


def test_a_value_with_spaces_is_braced():
    changed = with_option(MASTER, "smtp/inet", "smtpd_sender_restrictions", "check_sender_access pcre:/x")
    assert "-o { smtpd_sender_restrictions = check_sender_access pcre:/x }" in changed
    (smtp, *_) = entries(changed)
    assert smtp.options["smtpd_sender_restrictions"] == "check_sender_access pcre:/x"
    assert smtp.options["syslog_name"] == "postfix/trucking"


def test_an_option_of_a_service_that_is_not_there_is_an_error():
    with pytest.raises(LookupError, match="no service pickup/unix"):
        with_option("smtp inet n - - - - smtpd\n", "pickup/unix", "cleanup_service_name", "pkcleanup")


def test_every_place_ends_in_one_text_per_file_and_the_second_look_changes_nothing():
    rendered = {
        "/etc/postfix/hc/table": "t\n",
        "/etc/postfix/main.cf#hc": "hcout1_destination_rate_delay = 1s\n",
        "/etc/postfix/master.cf#hc": "hcout1 unix - - n - 2 smtp\n",
        "/etc/postfix/master.cf!pickup/unix/cleanup_service_name": "pkcleanup\n",
    }
    disk: dict[str, str] = {
        "/etc/postfix/main.cf": "myhostname = app.test\n",
        "/etc/postfix/master.cf": MASTER,
    }
    first = desired(rendered, disk.get)
    assert list(first) == ["/etc/postfix/hc/table", "/etc/postfix/main.cf", "/etc/postfix/master.cf"]
    disk |= {path: after for path, (_, after) in first.items()}
    assert disk["/etc/postfix/main.cf"].startswith("myhostname = app.test\n")
    assert all(before == after for before, after in desired(rendered, disk.get).values())


def test_without_a_master_cf_the_stock_services_are_taken():
    found = desired(
        {"/etc/postfix/master.cf!pickup/unix/cleanup_service_name": "pkcleanup\n"}, lambda _: None
    )
    before, after = found["/etc/postfix/master.cf"]
    assert before is None
    assert after == STOCK_MASTER + "    -o cleanup_service_name=pkcleanup\n"
