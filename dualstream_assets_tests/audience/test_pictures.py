"""The pictures of the funnel and of the drift: small, whole, with every number, and never a reason to fail."""

import base64
import re
from xml.etree import ElementTree

from dualstream_assets import pictures


def svg_of(markdown: str) -> str:
    match = re.fullmatch(r"!\[\w+\]\(data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)\)", markdown)
    assert match, markdown[:80]
    return base64.b64decode(match[1]).decode()


def test_the_funnel_is_a_small_picture_with_every_number() -> None:
    rejects = {f"reason-{i}": 1000 * (12 - i) for i in range(12)}
    files = {"institutional": 101_234, "consumer": 21_003, "direct": 322_034, "review": 895}
    total = sum(rejects.values()) + sum(files.values())
    markdown = pictures.in_markdown("funnel", lambda: pictures.audience_funnel(total, rejects, files))
    svg = svg_of(markdown)
    ElementTree.fromstring(svg)
    assert len(markdown) < 40_000
    for text in (f"{total:,}", "101,234", "322,034", "-12,000", "4 other reasons", "-10,000"):
        assert f">{text}</text>" in svg, text


def test_the_drift_is_a_small_picture() -> None:
    files = {
        "institutional": (94_012, 2_903, 1_203, 130, 220),
        "review": (0, 90, 0, 0, 0),
        "direct": (0,) * 5,
    }
    moves = [("institutional", "dropped", 1_188)] * 9
    markdown = pictures.in_markdown("drift", lambda: pictures.drift_picture(files, moves, (0.15, 0.1)))
    svg = svg_of(markdown)
    assert len(markdown) < 40_000
    for text in ("94,012 kept", "-1,423 / +3,033", "1,188"):
        assert f">{text}</text>" in svg, text
    assert "nothing moved" in svg_of(
        pictures.in_markdown("drift", lambda: pictures.drift_picture(files, [], (0.15, 0.1)))
    )


def test_a_picture_that_cannot_be_drawn_is_a_sentence() -> None:
    def broken() -> str:
        raise RuntimeError("no fonts")

    assert (
        pictures.in_markdown("funnel", broken) == "(no picture: RuntimeError; the numbers are in the tables)"
    )
