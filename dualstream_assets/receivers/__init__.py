"""Who runs the other end, and what their answers mean: MX host -> operator, SMTP reply -> ruling."""
