"""The estate: everything declared in `infra/estate.toml`, typed, checked, and explained."""

from dualstream_assets.estate.load import EstateError, find_estate, load_estate
from dualstream_assets.estate.model import Egress, Estate, Segment, Stage, Stream

__all__ = ["Egress", "Estate", "EstateError", "Segment", "Stage", "Stream", "find_estate", "load_estate"]
