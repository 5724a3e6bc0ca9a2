"""What can be wrong with a file of the registry. Each message is one line: the thing, and the cure."""

from __future__ import annotations

PAGE = "https://download.cms.gov/nppes/NPI_Files.html"


class RegistryError(ValueError):
    """A release or a list cannot be used; nothing was published."""


class ReleaseMissing(RegistryError):
    """There is no release where one was looked for."""


class NotAZip(RegistryError):
    """The file is something else, for instance an error page."""


class TruncatedZip(RegistryError):
    """The file begins as a ZIP and ends too early."""


class DamagedMember(RegistryError):
    """A member's bytes are not what the archive's directory says (CRC, length, or a broken stream)."""


class VersionOneRelease(RegistryError):
    """A release of the old layout, which ended on 2026-03-03."""


class MemberMissing(RegistryError):
    """The archive lacks a member that a release has."""


class WrongHeader(RegistryError):
    """A header row is not the one we know; the message names the first column that differs."""


class OverLimit(RegistryError):
    """The archive is larger than the estate allows."""


class ListUnreadable(RegistryError):
    """A CMS or OIG list is not in a form we know."""


class DownloadFailed(RegistryError):
    """A file was not fetched whole; what was there before is untouched."""
