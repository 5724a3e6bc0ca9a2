"""DNS and message identity: who we say we are, and whether the world can confirm it. Unknown is never pass.

One protocol, one module (rdns, spf, dkim, dmarc, blocklists, zones, message); `probes` turns findings into evidence.
"""
