"""Sending: ramp, caps, gate, waves. Who is mailed, how many, when, and only with a permit."""
