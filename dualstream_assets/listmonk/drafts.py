"""A wave's private list and its draft campaign: made once, found again by the wave's tag, read back. Sends nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from dualstream_assets.listmonk.client import Client
from dualstream_assets.listmonk.errors import Invalid, MembersNotListed, WaveMismatch
from dualstream_assets.listmonk.people import EVERYBODY, UNSUBSCRIBED, in_chunks, listed, listed_count, quoted

DRAFT = "draft"
MESSENGER = "email"
TEMPLATE = "dualstream: content only"
TEMPLATE_BODY = '{{ template "content" . }}'
MAILABLE = f"subscribers.status = 'enabled' AND NOT {UNSUBSCRIBED}"


class WaveLike(Protocol):
    """What is needed of a wave of the ledger."""

    @property
    def id(self) -> int:
        """Its number."""
        ...

    @property
    def stream(self) -> str:
        """Its stream."""
        ...

    @property
    def campaign(self) -> str:
        """Key of the campaign that it belongs to."""
        ...


class ContentLike(Protocol):
    """What is needed of the content. Bodies hold listmonk's template tags."""

    @property
    def subject(self) -> str:
        """Subject line."""
        ...

    @property
    def from_email(self) -> str:
        """`Name <address>`."""
        ...

    @property
    def headers(self) -> Sequence[Mapping[str, str]]:
        """Extra headers, one mapping each."""
        ...

    @property
    def html(self) -> str:
        """HTML part."""
        ...

    @property
    def text(self) -> str:
        """Text part."""
        ...


@dataclass(frozen=True)
class Prepared:
    """A wave's list and draft. `subscribers`: address -> (id, UUID)."""

    list_id: int
    campaign_id: int
    campaign_uuid: str
    subscribers: Mapping[str, tuple[int, str]] = field(repr=False)


def wave_tag(wave_id: int) -> str:
    """The tag that list and campaign of a wave carry."""
    return f"ds-wave-{wave_id}"


def prepare(client: Client, wave: WaveLike, members: Sequence[str], content: ContentLike) -> Prepared:
    """Make the wave's list and draft campaign, or find those of an earlier attempt. Sends nothing.

    Only people who are enabled and unsubscribed from nothing are put on the list.

    Raises:
        MembersNotListed: somebody may not be listed (any more): abandon the wave and plan anew.
        WaveMismatch: list or campaign under this tag are not this wave's.
    """
    wanted = {address.lower() for address in members}
    if not wanted:
        raise Invalid(f"wave {wave.id} has no members", "plan it anew")
    list_id = _wave_list(client, wave)
    there = {s.address: (s.id, s.uuid) for s in listed(client, list_id, MAILABLE)}
    missing = wanted - there.keys()
    if missing:
        _add(client, list_id, missing)
        there = {s.address: (s.id, s.uuid) for s in listed(client, list_id, MAILABLE)}
    count = listed_count(client, list_id)
    if wanted - there.keys():
        raise MembersNotListed(
            f"{client.url}: {len(wanted - there.keys())} of {len(wanted)} members of wave {wave.id} cannot be listed:"
            " opted out, blocklisted, or never imported",
            "materialize sending/suppression and the stream's subscribers, abandon this wave and plan anew",
        )
    if count != len(wanted):
        raise WaveMismatch(
            f"{client.url}: the list of wave {wave.id} holds {count} people, the wave {len(wanted)}",
            "abandon this wave and plan anew: its list was changed, or belongs to a ledger that is gone",
        )
    found = _wave_campaign(client, wave, list_id, content)
    return Prepared(list_id, int(found["id"]), str(found["uuid"]), {a: there[a] for a in wanted})


def _wave_list(client: Client, wave: WaveLike) -> int:
    tag = wave_tag(wave.id)
    tagged = list(client.pages("/lists", tag=tag))
    if len(tagged) > 1 or any(one["type"] != "private" or one["optin"] != "single" for one in tagged):
        raise WaveMismatch(
            f"{client.url}: {len(tagged)} lists carry the tag {tag}", "abandon this wave and plan anew"
        )
    if tagged:
        return int(tagged[0]["id"])
    made = client.post(
        "/lists",
        {
            "name": f"{wave.campaign}: wave {wave.id}",
            "type": "private",
            "optin": "single",
            "tags": [tag],
            "description": f"One wave of {wave.stream}. Archive it, never delete it: opt-outs hang on it.",
        },
    )
    return int(made["id"])


def _add(client: Client, list_id: int, addresses: Iterable[str]) -> None:
    """Insert-if-absent, by query: the variant by ids would overwrite an unsubscribed row."""
    for chunk in in_chunks(addresses):
        among = ", ".join(map(quoted, chunk))
        client.put(
            "/subscribers/query/lists",
            {
                "query": f"({EVERYBODY} AND {MAILABLE} AND subscribers.email IN ({among}))",
                "action": "add",
                "target_list_ids": [list_id],
                "status": "unconfirmed",
            },
        )


def _wave_campaign(client: Client, wave: WaveLike, list_id: int, content: ContentLike) -> dict[str, Any]:
    tag = wave_tag(wave.id)
    tagged = list(client.pages("/campaigns", tag=tag, no_body="true"))
    if len(tagged) > 1:
        raise WaveMismatch(
            f"{client.url}: {len(tagged)} campaigns carry the tag {tag}", "abandon this wave and plan anew"
        )
    template_id = _template(client)
    wanted: dict[str, Any] = {
        "name": f"{wave.campaign}: wave {wave.id}", "subject": content.subject, "from_email": content.from_email,
        "messenger": MESSENGER, "type": "regular", "content_type": "html", "body": content.html,
        "altbody": content.text, "headers": [dict(header) for header in content.headers], "tags": [tag],
        "template_id": template_id,
    }  # fmt: skip
    made = tagged[0] if tagged else client.post("/campaigns", {**wanted, "lists": [list_id]})
    found = client.get(f"/campaigns/{made['id']}")
    # An unavailable messenger silently becomes another one, so what was made is read back, whoever made it.
    differs = [key for key, value in wanted.items() if found.get(key) != value]
    if found["status"] != DRAFT:
        differs.append(f"status {found['status']}")
    if [one["id"] for one in found["lists"]] != [list_id]:
        differs.append("lists")
    if found.get("send_at"):
        differs.append("send_at")
    if differs:
        raise WaveMismatch(
            f"{client.url}: campaign {found['id']} of wave {wave.id} is not as prepared: {', '.join(differs)}",
            "abandon this wave and plan anew",
        )
    return found


def _template(client: Client) -> int:
    """The template that adds nothing: listmonk's default one would add a second opt-out link and pixel."""
    mine = [t for t in client.get("/templates", no_body="false") if t["name"] == TEMPLATE]
    for one in mine:
        if one["body"] == TEMPLATE_BODY:
            return int(one["id"])
    return int(client.post("/templates", {"name": TEMPLATE, "type": "campaign", "body": TEMPLATE_BODY})["id"])
