"""The demo: two virtual days of the whole operation in the lab, seen red and then green, and the page at the end."""
