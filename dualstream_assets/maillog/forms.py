"""The forms of Postfix 3.7 and OpenDKIM log lines: patterns, and what may be ignored in good conscience.

Sources: `smtpd_check.c`, `cleanup_message.c`, `log_adhoc.c`, `postsuper.c` of Postfix 3.7, and lines of a real one.
"""

from __future__ import annotations

import re

MONTHS = {m: i for i, m in enumerate(b"Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(), start=1)}
STAMP_WIDTH = 15
"""`Nov 24 03:26:03`"""

# Short ids are upper-case hex, long ids use 52 letters without vowels: neither can be an English word.
QUEUE_ID = re.compile(rb"[0-9B-DF-HJ-NP-TV-Zb-df-hj-np-tv-z]{10,20}|[0-9A-F]{6,20}")
TO = re.compile(
    rb"to=<(.*?)>, (?:orig_to=<.*?>, )?relay=([^\[,]+)(?:\[([^\]]*)\](?::(\d+))?)?, (?:conn_use=\d+, )?"
    rb"delay=([\d.]+), delays=[\d./]+, dsn=([\d.]+), status=(\S+) \((.*)\)$"
)
QUEUED = re.compile(rb"from=<(.*)>, size=(\d+), nrcpt=\d+ \(queue active\)$")
HEADER = re.compile(
    rb"info: header X-Listmonk-(Campaign|Subscriber): +(\S+) from (\S+); from=<(.*?)>(?: to=<(.*?)>)?(?: |$)"
)
REFUSED = re.compile(
    rb"(reject|reject_warning|hold|milter-reject|milter-hold|discard|milter-discard|filter|redirect|warn|info|bcc|prepend|delay):"
    rb" (\S+) from (\S+?): (?:(\d{3}) )?(.*?)(?:; from=<(.*?)>(?: to=<(.*?)>)?(?: |$).*)?$"
)
PICKUP = re.compile(rb"uid=\d+ from=<(.*)>(?: orig_id=(\S+))?$")
TLS = re.compile(rb"(\w+) TLS connection established to \S*?\[([^\]]*)\]:")
TLS_LEVELS = {
    "Verified": "verified",
    "Trusted": "trusted",
    "Untrusted": "untrusted",
    "Anonymous": "anonymous",
}

QUIET_DAEMONS = frozenset(
    b"anvil scache tlsmgr master postfix-script verify trivial-rewrite proxymap postlogd dnsblog tlsproxy flush"
    b" showq postmap postalias sendmail postdrop postlog postconf postqueue postcat".split()
)
"""Daemons and commands whose lines never tell of a message."""

QUIET_WITHOUT_ID = (
    b"connect from ", b"disconnect from ", b"lost connection ", b"timeout after ", b"too many errors ",
    b"improper command pipelining ", b"SSL_accept error ", b"SSL_connect error ", b"setting up TLS connection ",
    b"statistics: ", b"warning: ", b"connect to ", b"certificate verification failed ", b"daemon started ",
    b"reload ", b"terminating on signal", b"scheduler transport", b"Requeued: ", b"Deleted: ",
    b"Placed on hold: ", b"Released from hold: ", b"proxy-accept", b"initializing the server-side TLS",
    b"Anonymous TLS ", b"Trusted TLS ", b"Untrusted TLS ", b"Verified TLS ", b"using backwards-compatible",
    b"nullmx ", b"milter ", b"NOQUEUE: lost connection", b"NOQUEUE: client=",
)  # fmt: skip
QUIET_WITH_ID = (
    b"host ", b"lost connection with ", b"conversation with ", b"enabling PIX", b"Cannot start TLS", b"warning: ",
    b"info: ", b"prepend: ", b"replace: ", b"strip: ", b"breaking SMTPUTF8", b"timed out while", b"skipped, ",
    b"TLS is required", b"certificate ", b"sender ", b"postmaster ", b"resent-message-id=",
    b"SMTPUTF8 ", b"split ", b"filter: ", b"size limit", b"subject_", b"re-queueing", b"delivering",
)  # fmt: skip
OPENDKIM_QUIET = (
    b"OpenDKIM ", b"no signing table match", b"no signature data", b"s=", b"DKIM verification", b"bad signature",
    b"key retrieval", b"external host ", b"not authenticated", b"mode select", b"dkim_eoh", b"signing table",
    b"ignoring header", b"can't determine message sender",
)  # fmt: skip
