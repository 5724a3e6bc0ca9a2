"""What only the user can answer: required in production, without a default, listed by `doctor --questions`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dualstream_assets.estate.model import Estate


@dataclass(frozen=True)
class Question:
    """One key that the plan leaves open.

    Attributes:
        key: where the answer goes in the estate file.
        question: what we need to know.
        why: what goes wrong without it.
        answered: whether this estate has the answer.
    """

    key: str
    question: str
    why: str
    answered: Callable[[Estate], bool]


def _has(path: str) -> Callable[[Estate], bool]:
    def look(estate: Estate) -> bool:
        value: object = estate
        for part in path.split("."):
            value = value.get(part) if isinstance(value, dict) else getattr(value, part, None)
            if value is None:
                return False
        return value not in ((), "")

    return look


def _has_container_client(estate: Estate) -> bool:
    """Whether somebody beside this host itself may submit in production; the lab declares no production."""
    production = estate.environments.get("production")
    return production is None or any(not client.startswith("127.") for client in production.clients)


def _ask(key: str, question: str, why: str) -> Question:
    return Question(key, question, why, _has(key))


def questions(estate: Estate) -> list[Question]:
    """Every question for this estate, answered or not, in the order of the file."""
    asked = [
        _ask(
            "seeds", "Which mailboxes of your own may take probe messages?", "no message proof without them"
        ),
        _ask(
            "organisation.time_zone",
            "In which zone is 07:20, and the send window?",
            "caps count by local day",
        ),
        _ask(
            "organisation.alert_target",
            "Where do alerts go (a webhook)?",
            "nobody is told of a stopped stream",
        ),
        _ask("organisation.dead_man_url", "Which URL expects our ping?", "nobody notices a silent Dagster"),
        Question(
            "environments.production.clients",
            "Which fixed /32 has listmonk-hc on the bridge?",
            "Postfix would refuse its mail",
            _has_container_client,
        ),
        _ask(
            "environments.production.bridge_if", "Which bridge carries 172.18.0.1?", "Postfix dies without it"
        ),
        _ask(
            "hosts.app.address",
            "How do we reach the Postfix host over SSH?",
            "nothing can be read or applied",
        ),
        _ask(
            "probe.ip", "Which non-sending IP verifies mailboxes?", "a sending IP would burn its reputation"
        ),
        _ask("probe.helo", "What is that IP's forward-confirmed name?", "Google, IONOS and M365 check it"),
        _ask(
            "probe.mail_from", "Which real mailbox, on a domain apart from the brand, asks?", "abuse replies"
        ),
        _ask("campaign.from_address", "Who is the mail From?", "CAN-SPAM: true From"),
        _ask("campaign.from_name", "Under which name?", "CAN-SPAM: true From"),
        _ask(
            "campaign.reply_to", "Which monitored mailbox takes replies?", "'remove me' by reply must count"
        ),
        _ask("campaign.tool_url", "What is the address of the free NPI tool?", "the message links to it"),
        _ask("campaign.product_url", "What is the address of the $399 product?", "the message links to it"),
        _ask(
            "campaign.postal_address",
            "Which postal address is printed?",
            "CAN-SPAM: a valid physical address",
        ),
        _ask(
            "verification.catch_all_policy",
            "Mail accept-all mailboxes (send) or not (hold)?",
            "a third of all",
        ),
    ]
    for name, stream in estate.streams.items():
        base = f"streams.{name}"
        asked.append(
            _ask(f"{base}.listmonk.url", f"Where does {name}'s listmonk answer?", "opt-outs come from it")
        )
        if stream.share > 0:
            asked.append(
                _ask(
                    f"{base}.reply_to.address", f"Which mailbox takes {name}'s replies?", "opt-outs by reply"
                )
            )
        if stream.return_path_domain:
            asked.append(
                _ask(
                    f"{base}.return_path.address", f"Which mailbox takes {name}'s bounces?", "dead mailboxes"
                )
            )
    return asked


def unanswered(estate: Estate) -> list[Question]:
    """The questions that production still waits for."""
    return [question for question in questions(estate) if not question.answered(estate)]
