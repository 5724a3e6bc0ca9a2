"""How we touch the outside world: names (dns), machines (ssh), and changes to either (plan).

Nothing here knows a stream, a pool or a listmonk; rooms bring their own meaning.
"""
