"""Postfix: rendered from the estate, applied by plan, watched for drift, and tried where it must refuse.

Stage A only (facts: operations section 4): services and tables of our own beside the live trucking side, whose main.cf,
transport maps and queues are never written.
"""
