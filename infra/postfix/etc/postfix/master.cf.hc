# healthcare: what is submitted on 127.0.0.1:2526 leaves from 207.174.124.107 as hcmta01.performancewest.net.
127.0.0.1:2526 inet n - n - 20 smtpd
    # The port's name in the log: half of the proof of isolation.
    -o syslog_name=postfix/hcsubmit107
    # Received says this name: the requeue rule below finds the pool by it (leak 7), and the host's own
    # name stays out of the message (leak 19).
    -o myhostname=hcmta01.performancewest.net
    # Port -> IP. Empty next hop: the recipient's own MX. A record of the queue file, not a routing rule:
    # everything below keeps it from being lost.
    -o content_filter=hcout1:
    # A cleanup of our own, so that trucking's header checks and ours never meet.
    -o cleanup_service_name=hccleanup
    # Only the stream's own listmonk.
    -o mynetworks=127.0.0.1/32
    # Any other client, a dev container too, gets 554.
    -o smtpd_client_restrictions=permit_mynetworks,reject
    # Trucking's rules do not apply here.
    -o smtpd_helo_restrictions=
    # Only @bounce-hc.performancewest.net: a trucking or null sender would leave from 207.174.124.107 (leak 11).
    -o { smtpd_sender_restrictions = check_sender_access pcre:/etc/postfix/hc/sender_access, permit_mynetworks, reject }
    # Never an open relay.
    -o smtpd_relay_restrictions=permit_mynetworks,reject
    # Consumer mailboxes are refused by domain and by MX before anything else: `hold:` in transport_maps is
    # ignored for filtered mail (leak 1). Then the wave policy: a recipient of no released wave is refused.
    # No policy daemon: 250 and held, never sent.
    -o { smtpd_recipient_restrictions = check_recipient_access pcre:/etc/postfix/hc/recipient_access, check_recipient_mx_access pcre:/etc/postfix/hc/recipient_mx_access, check_policy_service { inet:127.0.0.1:2599, timeout=10s, default_action=HOLD }, permit_mynetworks, reject }
    # Trucking's rules do not apply here.
    -o smtpd_data_restrictions=
    # The wave policy marks the person as used, once, and holds above 1.25 x the cap.
    -o { smtpd_end_of_data_restrictions = check_policy_service { inet:127.0.0.1:2599, timeout=10s, default_action=HOLD } }
    # FILTER and HOLD are per message: one recipient a message keeps one person's fate his own.
    -o smtpd_recipient_limit=1
    # NOTIFY=NEVER and XVERP: no bounce or delay notice is born here, to leave by trucking's IPs (leaks 4, 5).
    -o smtpd_command_filter=pcre:/etc/postfix/hc/command_filter
    # Or XVERP is refused.
    -o smtpd_authorized_verp_clients=127.0.0.1/32
    # OpenDKIM down: 451, nothing unsigned leaves.
    -o milter_default_action=tempfail

# healthcare: what is submitted on 172.18.0.1:2526 leaves from 207.174.124.107 as hcmta01.performancewest.net.
172.18.0.1:2526 inet n - n - 20 smtpd
    -o syslog_name=postfix/hcsubmit107
    -o myhostname=hcmta01.performancewest.net
    -o content_filter=hcout1:
    -o cleanup_service_name=hccleanup
    -o mynetworks=127.0.0.1/32
    -o smtpd_client_restrictions=permit_mynetworks,reject
    -o smtpd_helo_restrictions=
    -o { smtpd_sender_restrictions = check_sender_access pcre:/etc/postfix/hc/sender_access, permit_mynetworks, reject }
    -o smtpd_relay_restrictions=permit_mynetworks,reject
    -o { smtpd_recipient_restrictions = check_recipient_access pcre:/etc/postfix/hc/recipient_access, check_recipient_mx_access pcre:/etc/postfix/hc/recipient_mx_access, check_policy_service { inet:127.0.0.1:2599, timeout=10s, default_action=HOLD }, permit_mynetworks, reject }
    -o smtpd_data_restrictions=
    -o { smtpd_end_of_data_restrictions = check_policy_service { inet:127.0.0.1:2599, timeout=10s, default_action=HOLD } }
    -o smtpd_recipient_limit=1
    -o smtpd_command_filter=pcre:/etc/postfix/hc/command_filter
    -o smtpd_authorized_verp_clients=127.0.0.1/32
    -o milter_default_action=tempfail

# healthcare: what is submitted on 127.0.0.1:2527 leaves from 207.174.124.108 as hcmta02.performancewest.net.
127.0.0.1:2527 inet n - n - 20 smtpd
    -o syslog_name=postfix/hcsubmit108
    -o myhostname=hcmta02.performancewest.net
    -o content_filter=hcout2:
    -o cleanup_service_name=hccleanup
    -o mynetworks=127.0.0.1/32
    -o smtpd_client_restrictions=permit_mynetworks,reject
    -o smtpd_helo_restrictions=
    -o { smtpd_sender_restrictions = check_sender_access pcre:/etc/postfix/hc/sender_access, permit_mynetworks, reject }
    -o smtpd_relay_restrictions=permit_mynetworks,reject
    -o { smtpd_recipient_restrictions = check_recipient_access pcre:/etc/postfix/hc/recipient_access, check_recipient_mx_access pcre:/etc/postfix/hc/recipient_mx_access, check_policy_service { inet:127.0.0.1:2599, timeout=10s, default_action=HOLD }, permit_mynetworks, reject }
    -o smtpd_data_restrictions=
    -o { smtpd_end_of_data_restrictions = check_policy_service { inet:127.0.0.1:2599, timeout=10s, default_action=HOLD } }
    -o smtpd_recipient_limit=1
    -o smtpd_command_filter=pcre:/etc/postfix/hc/command_filter
    -o smtpd_authorized_verp_clients=127.0.0.1/32
    -o milter_default_action=tempfail

# healthcare: what is submitted on 172.18.0.1:2527 leaves from 207.174.124.108 as hcmta02.performancewest.net.
172.18.0.1:2527 inet n - n - 20 smtpd
    -o syslog_name=postfix/hcsubmit108
    -o myhostname=hcmta02.performancewest.net
    -o content_filter=hcout2:
    -o cleanup_service_name=hccleanup
    -o mynetworks=127.0.0.1/32
    -o smtpd_client_restrictions=permit_mynetworks,reject
    -o smtpd_helo_restrictions=
    -o { smtpd_sender_restrictions = check_sender_access pcre:/etc/postfix/hc/sender_access, permit_mynetworks, reject }
    -o smtpd_relay_restrictions=permit_mynetworks,reject
    -o { smtpd_recipient_restrictions = check_recipient_access pcre:/etc/postfix/hc/recipient_access, check_recipient_mx_access pcre:/etc/postfix/hc/recipient_mx_access, check_policy_service { inet:127.0.0.1:2599, timeout=10s, default_action=HOLD }, permit_mynetworks, reject }
    -o smtpd_data_restrictions=
    -o { smtpd_end_of_data_restrictions = check_policy_service { inet:127.0.0.1:2599, timeout=10s, default_action=HOLD } }
    -o smtpd_recipient_limit=1
    -o smtpd_command_filter=pcre:/etc/postfix/hc/command_filter
    -o smtpd_authorized_verp_clients=127.0.0.1/32
    -o milter_default_action=tempfail

# healthcare: what is submitted on 127.0.0.1:2528 leaves from 207.174.124.109 as hcmta03.performancewest.net.
127.0.0.1:2528 inet n - n - 20 smtpd
    -o syslog_name=postfix/hcsubmit109
    -o myhostname=hcmta03.performancewest.net
    -o content_filter=hcout3:
    -o cleanup_service_name=hccleanup
    -o mynetworks=127.0.0.1/32
    -o smtpd_client_restrictions=permit_mynetworks,reject
    -o smtpd_helo_restrictions=
    -o { smtpd_sender_restrictions = check_sender_access pcre:/etc/postfix/hc/sender_access, permit_mynetworks, reject }
    -o smtpd_relay_restrictions=permit_mynetworks,reject
    -o { smtpd_recipient_restrictions = check_recipient_access pcre:/etc/postfix/hc/recipient_access, check_recipient_mx_access pcre:/etc/postfix/hc/recipient_mx_access, check_policy_service { inet:127.0.0.1:2599, timeout=10s, default_action=HOLD }, permit_mynetworks, reject }
    -o smtpd_data_restrictions=
    -o { smtpd_end_of_data_restrictions = check_policy_service { inet:127.0.0.1:2599, timeout=10s, default_action=HOLD } }
    -o smtpd_recipient_limit=1
    -o smtpd_command_filter=pcre:/etc/postfix/hc/command_filter
    -o smtpd_authorized_verp_clients=127.0.0.1/32
    -o milter_default_action=tempfail

# healthcare: what is submitted on 172.18.0.1:2528 leaves from 207.174.124.109 as hcmta03.performancewest.net.
172.18.0.1:2528 inet n - n - 20 smtpd
    -o syslog_name=postfix/hcsubmit109
    -o myhostname=hcmta03.performancewest.net
    -o content_filter=hcout3:
    -o cleanup_service_name=hccleanup
    -o mynetworks=127.0.0.1/32
    -o smtpd_client_restrictions=permit_mynetworks,reject
    -o smtpd_helo_restrictions=
    -o { smtpd_sender_restrictions = check_sender_access pcre:/etc/postfix/hc/sender_access, permit_mynetworks, reject }
    -o smtpd_relay_restrictions=permit_mynetworks,reject
    -o { smtpd_recipient_restrictions = check_recipient_access pcre:/etc/postfix/hc/recipient_access, check_recipient_mx_access pcre:/etc/postfix/hc/recipient_mx_access, check_policy_service { inet:127.0.0.1:2599, timeout=10s, default_action=HOLD }, permit_mynetworks, reject }
    -o smtpd_data_restrictions=
    -o { smtpd_end_of_data_restrictions = check_policy_service { inet:127.0.0.1:2599, timeout=10s, default_action=HOLD } }
    -o smtpd_recipient_limit=1
    -o smtpd_command_filter=pcre:/etc/postfix/hc/command_filter
    -o smtpd_authorized_verp_clients=127.0.0.1/32
    -o milter_default_action=tempfail

# healthcare: cleanup of its ports. Logs queue id with both listmonk UUIDs, the join of every proof.
hccleanup unix n - n - 0 cleanup
    # Found in the log by name.
    -o syslog_name=postfix/hccleanup
    # INFO lines only; no rule changes a message.
    -o header_checks=pcre:/etc/postfix/hc/header_checks
    # Empty: else an inbound DSN logs its embedded headers and is counted as a send.
    -o nested_header_checks=
    # Likewise.
    -o mime_header_checks=
    # Trucking's rules do not apply here.
    -o body_checks=

# healthcare: delivery from 207.174.124.107.
hcout1 unix - - n - 2 smtp
    # The transport's name in the log: the other half of the proof.
    -o syslog_name=postfix/hcout1
    # The source address.
    -o smtp_bind_address=207.174.124.107
    # An address that is missing defers; without this the host's primary address is used (leak 12).
    -o smtp_bind_address_enforce=yes
    # Else IPv6 destinations are reached from the host's own address (leak 13).
    -o inet_protocols=ipv4
    # HELO = PTR.
    -o smtp_helo_name=hcmta01.performancewest.net
    # Not asked for onward: no notice is promised by anybody behind us.
    -o smtp_discard_ehlo_keywords=dsn
    # The last net for consumer mailboxes: the check at RCPT fails open on SERVFAIL; here such an MX does
    # not exist, so the message is deferred without a connection.
    -o smtp_dns_reply_filter=pcre:/etc/postfix/hc/dns_reply_filter
    # Postfix's own default is plain text; Google throttles that.
    -o smtp_tls_security_level=may
    # TLS is told in the log.
    -o smtp_tls_loglevel=1
    # A relay would be the egress (leak 15).
    -o smtp_fallback_relay=

# healthcare: delivery from 207.174.124.108.
hcout2 unix - - n - 2 smtp
    -o syslog_name=postfix/hcout2
    -o smtp_bind_address=207.174.124.108
    -o smtp_bind_address_enforce=yes
    -o inet_protocols=ipv4
    -o smtp_helo_name=hcmta02.performancewest.net
    -o smtp_discard_ehlo_keywords=dsn
    -o smtp_dns_reply_filter=pcre:/etc/postfix/hc/dns_reply_filter
    -o smtp_tls_security_level=may
    -o smtp_tls_loglevel=1
    -o smtp_fallback_relay=

# healthcare: delivery from 207.174.124.109.
hcout3 unix - - n - 2 smtp
    -o syslog_name=postfix/hcout3
    -o smtp_bind_address=207.174.124.109
    -o smtp_bind_address_enforce=yes
    -o inet_protocols=ipv4
    -o smtp_helo_name=hcmta03.performancewest.net
    -o smtp_discard_ehlo_keywords=dsn
    -o smtp_dns_reply_filter=pcre:/etc/postfix/hc/dns_reply_filter
    -o smtp_tls_security_level=may
    -o smtp_tls_loglevel=1
    -o smtp_fallback_relay=
