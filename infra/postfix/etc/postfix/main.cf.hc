# healthcare: per-domain politeness, so that no clinic's host is hammered.
hcout1_destination_concurrency_limit = 2
hcout1_destination_rate_delay = 1s
hcout2_destination_concurrency_limit = 2
hcout2_destination_rate_delay = 1s
hcout3_destination_concurrency_limit = 2
hcout3_destination_rate_delay = 1s
