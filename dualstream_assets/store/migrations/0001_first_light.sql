-- Ops state, first form. Times are timestamptz (UTC); addresses live only here and in the audience files,
-- never in Dagster's metadata or logs. Rows are appended; what changes state says when and why.

-- Evidence: what was looked at and what was found. The newest row BY ID of (stream, subject, fact) counts.
-- A check commits `unknown` before it looks and the finding after, so a check that crashes shuts the gate.
create table evidence (
  id          bigint generated always as identity primary key,
  stream      text not null,
  subject     text not null,
  fact        text not null,
  verdict     text not null check (verdict in ('unknown', 'pass', 'fail')),
  evidence    text not null,
  source      text not null,
  observed_at timestamptz not null,
  expires_at  timestamptz not null,
  check (expires_at >= observed_at)
);
create index evidence_newest on evidence (stream, fact, subject, id desc);

-- The one list, across both streams, of addresses and domains never to mail again.
create table suppression (
  id            bigint generated always as identity primary key,
  kind          text not null check (kind in ('address', 'domain')),
  value         text not null check (value = lower(value)),
  reason        text not null check (reason in
                  ('unsubscribed', 'complaint', 'hard_bounce', 'reply', 'manual', 'excluded', 'blocklisted')),
  source        text not null,
  since         timestamptz not null,
  lifted_at     timestamptz,
  lifted_reason text
);
create unique index suppression_once on suppression (kind, value) where lifted_at is null;

-- Waves. planned -> reserved -> released -> handed_over -> settled, or abandoned before release.
create table wave (
  id              bigint generated always as identity primary key,
  stream          text not null,
  campaign        text not null,
  local_date      date not null,
  state           text not null check (state in
                    ('planned', 'reserved', 'released', 'handed_over', 'settled', 'abandoned')),
  size            int not null check (size > 0),
  cap_per_hour    int not null,
  cap_per_day     int not null,
  members_hash    text not null,
  permit_id       bigint,
  list_id         int,
  campaign_id     int,
  campaign_uuid   uuid,
  config_hash     text,
  planned_at      timestamptz not null,
  reserved_at     timestamptz,
  released_at     timestamptz,
  handed_over_at  timestamptz,
  settled_at      timestamptz,
  note            text not null default ''
);
create index wave_recent on wave (stream, released_at);
create unique index wave_campaign_uuid on wave (campaign_uuid);

-- State of one person in one wave. `not_sent` is proved, and the only state after which a person may be asked again.
create table wave_member (
  wave_id         bigint not null references wave (id),
  stream          text not null,
  campaign        text not null,
  address         text not null check (address = lower(address)),
  domain          text not null,
  operator        text not null,
  rank            int not null,
  subscriber_id   int,
  subscriber_uuid uuid,
  state           text not null check (state in
                    ('reserved', 'released', 'queued', 'deferred', 'delivered', 'bounced', 'expired',
                     'refused', 'held', 'deleted', 'unknown', 'not_sent')),
  queue_id        text,
  changed_at      timestamptz not null,
  primary key (wave_id, address)
);
create unique index once_per_campaign on wave_member (campaign, address) where state <> 'not_sent';
create index wave_member_address on wave_member (address);

-- A permit is this row. Only sending/gate.py mints it, listmonk/campaigns.py consumes it, once, in the
-- transaction that commits the wave.
create table permit (
  id           bigint generated always as identity primary key,
  kind         text not null check (kind in ('wave', 'probe')),
  stream       text not null,
  wave_id      bigint references wave (id),
  members_hash text not null,
  evidence_ids bigint[] not null check (cardinality(evidence_ids) > 0),
  minted_at    timestamptz not null,
  valid_until  timestamptz not null check (valid_until > minted_at),
  used_at      timestamptz,
  check (kind <> 'wave' or wave_id is not null)
);
alter table wave add foreign key (permit_id) references permit (id);

-- The policy service at the submission ports: a member may pass once.
create table policy_use (
  wave_id   bigint not null references wave (id),
  stream    text not null,
  recipient text not null,
  port      int not null,
  used_at   timestamptz not null,
  primary key (wave_id, recipient)
);

-- A stream that was stopped by a person or by a belt (wrong recipient at a port, a leak, a Yahoo hit).
create table stream_stop (
  id             bigint generated always as identity primary key,
  stream         text not null,
  reason         text not null,
  source         text not null,
  at             timestamptz not null,
  acknowledged_at timestamptz,
  acknowledged_reason text
);

-- Ramp: one decision per stream and local date; missed dates are replayed in order.
create table ramp_day (
  stream        text not null,
  local_date    date not null,
  effective_day int not null,
  acc           int not null,
  cooldown      int not null,
  cap_per_hour  int not null,
  cap_per_day   int not null,
  rule          int not null,
  reason        text not null,
  inputs        jsonb not null,
  decided_at    timestamptz not null,
  primary key (stream, local_date)
);

create table ramp_override (
  id           bigint generated always as identity primary key,
  stream       text not null,
  cap_per_hour int not null check (cap_per_hour > 0),
  cap_per_day  int not null check (cap_per_day > 0),
  reason       text not null,
  starts_at    timestamptz not null,
  ends_at      timestamptz not null check (ends_at <= starts_at + interval '7 days')
);

create table cap_history (
  id           bigint generated always as identity primary key,
  stream       text not null,
  cap_per_hour int not null,
  previous     int,
  writer       text not null,
  reason       text not null,
  set_at       timestamptz not null,
  read_back    int
);

create table brake (
  id         bigint generated always as identity primary key,
  stream     text not null,
  kind       text not null check (kind in ('hard', 'block', 'soft', 'manual')),
  reason     text not null,
  evidence   text not null,
  on_at      timestamptz not null,
  off_at     timestamptz,
  off_reason text
);

create table arming (
  id          bigint generated always as identity primary key,
  stream      text not null,
  reason      text not null,
  armed_by    text not null,
  armed_at    timestamptz not null,
  ends_at     timestamptz not null check (ends_at > armed_at),
  disarmed_at timestamptz
);

-- Verification journal: one row per reply that matters, committed per session; verdicts are derived from it.
create table probe_journal (
  id             bigint generated always as identity primary key,
  run_id         text not null,
  shard          text not null,
  domain         text not null,
  operator       text not null,
  mx_host        text,
  mx_address     inet,
  source_address inet,
  probe_kind     text not null check (probe_kind in ('real', 'random', 'control', 'session')),
  address        text,
  stage          text not null check (stage in ('dns', 'connect', 'banner', 'ehlo', 'mail', 'rcpt', 'closed')),
  reply_code     int,
  enhanced_code  text,
  reply_text     text not null default '',
  attempt        int not null,
  rule           text not null,
  ruleset        int not null,
  ruling         text not null,
  observed_at    timestamptz not null
);
create index probe_journal_domain on probe_journal (domain, id);
create index probe_journal_address on probe_journal (address, id) where address is not null;

create table mailbox (
  address     text primary key check (address = lower(address)),
  domain      text not null,
  operator    text not null,
  shard       text not null,
  mx_host     text,
  verdict     text not null,
  rule        text not null,
  attempts    int not null,
  journal_id  bigint references probe_journal (id),
  observed_at timestamptz not null,
  next_visit  timestamptz
);
create index mailbox_due on mailbox (next_visit) where next_visit is not null;

create table mail_domain (
  domain      text primary key,
  operator    text not null,
  shard       text not null,
  mx          jsonb not null,
  ruling      text not null,
  resolved_at timestamptz not null
);

-- Mail log: how far each file is read, what every queue id did, what could not be parsed.
create table log_source (
  path         text primary key,
  inode        bigint not null,
  byte_offset  bigint not null,
  first_line_at timestamptz,
  last_line_at timestamptz,
  read_at      timestamptz not null
);

create table log_message (
  queue_id        text primary key,
  original_id     text,
  stream          text,
  submit_service  text not null,
  message_id      text,
  campaign_uuid   uuid,
  subscriber_uuid uuid,
  sender          text,
  signed          boolean not null default false,
  received_at     timestamptz not null,
  expired_at      timestamptz,
  removed_at      timestamptz
);
create index log_message_campaign on log_message (campaign_uuid);

create table delivery (
  id            bigint generated always as identity primary key,
  queue_id      text not null,
  recipient     text not null,
  transport     text not null,
  stream        text,
  campaign_uuid uuid,
  wave_id       bigint,
  status        text not null check (status in ('sent', 'deferred', 'bounced', 'expired')),
  reply_code    int,
  enhanced_code text,
  reply_text    text not null,
  relay_host    text,
  relay_address inet,
  operator      text not null,
  tls           text not null check (tls in ('verified', 'trusted', 'untrusted', 'anonymous', 'none')),
  delay_s       double precision,
  at            timestamptz not null,
  unique (queue_id, recipient, at, status)
);
create index delivery_stream_at on delivery (stream, at);
create index delivery_wave on delivery (wave_id);
create index delivery_recipient on delivery (recipient);

create table log_refusal (
  id             bigint generated always as identity primary key,
  stream         text,
  submit_service text not null,
  action         text not null,
  reply_code     int,
  reply_text     text not null,
  sender         text,
  recipient      text,
  at             timestamptz not null,
  unique (submit_service, at, action, recipient)
);

create table log_anomaly (
  id      bigint generated always as identity primary key,
  kind    text not null,
  line    text not null,
  at      timestamptz not null
);

-- Plans and applies to the outside, with the inverse kept.
create table applied_plan (
  id         bigint generated always as identity primary key,
  target     text not null,
  plan_hash  text not null,
  changes    jsonb not null,
  inverse    jsonb not null,
  applied_at timestamptz not null,
  read_back  text not null
);
