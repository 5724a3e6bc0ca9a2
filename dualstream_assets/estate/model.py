"""The typed shape of `infra/estate.toml`: what is declared about domain, hosts, streams, pools and ramps.

Only shape and single-field rules live here. Rules that hold between keys are in `findings.py`, what only the
user can answer is in `questions.py`. A value that the plan does not give has no default: it is `None` and a question.
"""

from __future__ import annotations

from datetime import datetime, time
from ipaddress import IPv4Address
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

EgressState = Literal["active", "idle", "retired"]
"""active: carries mail now; idle: ours and warm or warming, unused; retired: must carry nothing."""

Segment = Literal["institutional", "consumer", "direct", "review", "dropped"]
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f"{name!r} is not an IANA time zone such as 'America/New_York'") from error
    return name


ZoneName = Annotated[str, AfterValidator(_known_zone)]
Port = Annotated[int, Field(ge=1, le=65535)]


class Declared(BaseModel):
    """Every table of the estate: frozen, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Organisation(Declared):
    """Who this estate belongs to and which mail domain it sends as."""

    name: str
    domain: str
    time_zone: ZoneName | None = None
    """Zone of 07:20, of the send windows and of the day caps. Required in production."""
    alert_target: str | None = None
    """Where alerts go (a webhook URL; never through the MTA it reports on). Required in production."""
    dead_man_url: str | None = None
    production_marker: str = "/etc/postfix/hc-warmup-start"
    """A file that exists only on the production host: with it, an unset environment is refused."""


class Egress(Declared):
    """One source IP with its HELO name and Postfix transport."""

    ip: IPv4Address
    helo: str
    transport: str
    stream: str
    state: EgressState
    port: Port | None = None
    """Submission port whose mail leaves from here (one port per egress on the healthcare stream)."""
    submit_name: str | None = None
    """syslog name of that port's smtpd, e.g. `postfix/hcsubmit107`."""
    former_transport: str | None = None


class Stage(Declared):
    """One warmup stage: from this effective day on, these caps hold."""

    from_day: int = Field(ge=0)
    cap_per_hour: int = Field(gt=0)
    cap_per_day: int = Field(gt=0)


class Ramp(Declared):
    """Warmup of one stream (facts: operations section 2)."""

    mode: Literal["earned", "calendar", "fixed"]
    """earned: days that delivered count; calendar: the plan's literal rule; fixed: one stage for ever."""
    stamp: str | None = None
    """File whose one line is the zoned start of the warmup; missing means the lowest stage."""
    stages: tuple[Stage, ...] = Field(min_length=1)
    idle_days_restart: int = Field(default=30, ge=1)
    advance_share: float = Field(default=0.8, gt=0, le=1)
    cap_writer: str
    """The one program that may write this cap: `dualstream`, or the path of a foreign writer."""


class Window(Declared):
    """When a stream may send, in the estate's time zone."""

    days: tuple[Weekday, ...] = Field(min_length=1)
    start: time
    end: time
    holidays: Literal["US", "none"] = "US"


class Listmonk(Declared):
    """One listmonk instance."""

    url: str | None = None
    root_url: str | None = None
    """Public address baked into unsubscribe and tracking links."""
    database: str | None = None
    database_owner: str | None = None
    container: str | None = None
    image: str | None = None
    api_user: str = "dualstream"
    token_variable: str
    """Name of the environment variable that holds the API token."""
    max_conns: int = Field(default=2, ge=1)
    managed: bool
    """True: settings are held in the declared state. False: shown, never written (trucking's live instance)."""


class Mailbox(Declared):
    """A mailbox that must be read: bounces or replies."""

    address: str | None = None
    imap_url: str | None = None
    password_variable: str | None = None


class Brakes(Declared):
    """Thresholds of automatic holds (facts: mail section 4.2, operations sections 2 and 5)."""

    minimum_attempts: int = Field(default=200, ge=1)
    hard_bounce_share: float = Field(default=0.05, gt=0, le=1)
    soft_deferred_share: float = Field(default=0.10, gt=0, le=1)
    soft_delivered_share: float = Field(default=0.90, gt=0, le=1)
    block_replies_per_hour: int = Field(default=3, ge=1)
    cooldown_days: int = Field(default=2, ge=0)


class Stream(Declared):
    """One stream: one listmonk, one pool, one ramp, one audience."""

    segment: Segment
    """The audience segment that may ride this stream."""
    share: float = Field(ge=0, le=1)
    """Share of the caps that our own waves may use; the rest belongs to others on the stream."""
    ramp: Ramp
    window: Window
    listmonk: Listmonk
    brakes: Brakes = Brakes()
    submit_port: Port | None = None
    """The one submission port, where egress is not chosen by port (trucking: 25)."""
    submit_name: str | None = None
    return_path_domain: str | None = None
    return_path: Mailbox = Mailbox()
    reply_to: Mailbox = Mailbox()
    wave_limit_per_domain: int = Field(default=2, ge=1)
    """At most this many people of one domain in one wave."""


class Environment(Declared):
    """Where the submission ports listen and who may connect, per environment."""

    listen: tuple[IPv4Address, ...]
    clients: tuple[str, ...]
    bridge_if: str | None = None


class Host(Declared):
    """A machine we read or change over SSH."""

    address: str | None = None
    ssh_port: Port = 22
    ssh_user: str = "root"
    ssh_key: str = "~/.ssh/id_ed25519"
    role: str


class Zone(Declared):
    """A DNS zone and who holds it."""

    name: str
    host: str
    owner: str
    """The Hestia user that owns the zone."""


class Dns(Declared):
    """DNS identity of the domain."""

    zones: tuple[Zone, ...]
    dkim_selector: str
    dkim_minimum_bits: int = 2048
    blocklists: tuple[str, ...] = ()


class Probe(Declared):
    """Identity of mailbox verification: never a sending IP. Required in production."""

    ip: IPv4Address | None = None
    helo: str | None = None
    mail_from: str | None = None


class Campaign(Declared):
    """Facts of the healthcare campaign that content needs. Required in production, no defaults."""

    key: str
    subject: str
    product: str
    price_usd: int
    from_address: str | None = None
    from_name: str | None = None
    reply_to: str | None = None
    tool_url: str | None = None
    product_url: str | None = None
    postal_address: str | None = None


class Verification(Declared):
    """Policy of mailbox verification."""

    catch_all_policy: Literal["hold", "send"] | None = None
    """Whether accept-all mailboxes may be mailed. Required in production."""
    valid_days: int = Field(default=45, ge=1)
    greylist_retry_s: int = Field(default=300, ge=1)
    connections: int = Field(default=50, ge=1, le=200)
    timeout_s: float = Field(default=30.0, gt=0)


class Drift(Declared):
    """How far the audience of one release may be from the last before a person looks: shares of the former rows.

    Attributes:
        added, left: addresses of a file that are new, or gone.
        moved: addresses that came from another segment, or went to one.
        rule: change of a rule's count.
        rule_rows: a file or a rule smaller than this is measured as if it had this many.
    """

    added: float = Field(default=0.15, gt=0)
    left: float = Field(default=0.10, gt=0, le=1)
    moved: float = Field(default=0.02, gt=0, le=1)
    rule: float = Field(default=0.30, gt=0)
    rule_rows: int = Field(default=200, ge=1)


class Audience(Declared):
    """What the estate adds to the classifier's tables, and takes out of them."""

    consumer_domains: tuple[str, ...] = ()
    not_consumer_domains: tuple[str, ...] = ()
    dropped_domains: tuple[str, ...] = ()
    not_dropped_domains: tuple[str, ...] = ()
    direct_suffixes: tuple[str, ...] = ()
    not_direct_suffixes: tuple[str, ...] = ()
    review_domains: tuple[str, ...] = ()
    not_review_domains: tuple[str, ...] = ()
    overdue_first: bool = True
    drift: Drift = Drift()


class Limits(Declared):
    """Bounds on input files.

    Attributes:
        zip_ratio: how many times its size a member may unpack to (a real one: about 11).
        zip_bytes: what all members may unpack to.
        record_bytes: the longest line.
        list_age_days, release_age_days: older ones are not relied on.
    """

    zip_ratio: float = Field(default=60.0, gt=1)
    zip_bytes: int = Field(default=40_000_000_000, gt=0)
    record_bytes: int = Field(default=16_777_216, ge=65_536)
    list_age_days: int = Field(default=45, ge=1)
    release_age_days: int = Field(default=62, ge=1)


class Lab(Declared):
    """Only in the lab estate: the pretend world's seed, size and first moment."""

    seed: int
    epoch: datetime
    domains: int = Field(ge=10)


class Estate(Declared):
    """Everything declared: the root of `infra/estate.toml`."""

    organisation: Organisation
    streams: dict[str, Stream]
    egress: tuple[Egress, ...]
    environments: dict[Literal["lab", "dev", "production"], Environment]
    hosts: dict[str, Host]
    dns: Dns
    probe: Probe
    campaign: Campaign
    seeds: tuple[str, ...] = ()
    """Mailboxes of our own at large operators, for probe messages. Required in production."""
    verification: Verification = Verification()
    audience: Audience = Audience()
    limits: Limits = Limits()
    lab: Lab | None = None

    @property
    def zone(self) -> ZoneInfo:
        """The estate's time zone; UTC until the question is answered (production refuses before that)."""
        return ZoneInfo(self.organisation.time_zone or "UTC")

    def pool(self, stream: str) -> tuple[Egress, ...]:
        """The active egresses of a stream, in declared order."""
        return tuple(e for e in self.egress if e.stream == stream and e.state == "active")

    def egress_of_transport(self, transport: str) -> Egress | None:
        """The egress whose Postfix transport has this name (`hcout1`)."""
        return next((e for e in self.egress if e.transport == transport), None)
