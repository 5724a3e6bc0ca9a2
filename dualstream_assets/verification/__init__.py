"""Is this mailbox alive? MX lookup and SMTP dialogues up to RCPT TO, from an address that never sends mail."""
