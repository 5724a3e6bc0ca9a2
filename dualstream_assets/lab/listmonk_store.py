"""The tables of the listmonk stand-in, in real PostgreSQL, named as listmonk names them (facts: listmonk section 10).

Only what our driver and its tests can see is here. Times come from the lab's clock, never from the server's.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from psycopg import Connection

CONNECTIONS = 8

SCHEMA = """
create type list_type as enum ('public', 'private', 'temporary');
create type list_optin as enum ('single', 'double');
create type list_status as enum ('active', 'archived');
create type subscriber_status as enum ('enabled', 'disabled', 'blocklisted');
create type subscription_status as enum ('unconfirmed', 'confirmed', 'unsubscribed');
create type campaign_status as enum ('draft', 'running', 'scheduled', 'paused', 'cancelled', 'finished');
create type campaign_type as enum ('regular', 'optin');
create type content_type as enum ('richtext', 'html', 'plain', 'markdown', 'visual');
create type bounce_type as enum ('soft', 'hard', 'complaint');
create type user_type as enum ('user', 'api');

create table subscribers (
  id serial primary key, uuid uuid not null unique, email text not null unique, name text not null,
  attribs jsonb not null default '{}', status subscriber_status not null default 'enabled',
  created_at timestamptz not null, updated_at timestamptz not null
);
create unique index idx_subs_email on subscribers (lower(email));
create index idx_subs_status on subscribers (status);
create table lists (
  id serial primary key, uuid uuid not null unique, name text not null, type list_type not null,
  optin list_optin not null default 'single', status list_status not null default 'active',
  tags varchar(100)[] not null default '{}', description text not null default '',
  created_at timestamptz not null, updated_at timestamptz not null
);
create table subscriber_lists (
  subscriber_id int references subscribers (id) on delete cascade,
  list_id int references lists (id) on delete cascade,
  meta jsonb not null default '{}', status subscription_status not null default 'unconfirmed',
  created_at timestamptz not null, updated_at timestamptz not null,
  primary key (subscriber_id, list_id)
);
create index idx_sub_lists_list_id on subscriber_lists (list_id);
create index idx_sub_lists_status on subscriber_lists (status);
create table templates (
  id serial primary key, name text not null, type text not null default 'campaign', subject text not null default '',
  body text not null, is_default boolean not null default false,
  created_at timestamptz not null, updated_at timestamptz not null
);
create table campaigns (
  id serial primary key, uuid uuid not null unique, name text not null, subject text not null,
  from_email text not null, body text not null, altbody text, content_type content_type not null,
  send_at timestamptz, headers jsonb not null default '[]', attribs jsonb not null default '{}',
  status campaign_status not null default 'draft', tags varchar(100)[] not null default '{}',
  type campaign_type not null default 'regular', messenger text not null,
  template_id int references templates (id) on delete set null,
  to_send int not null default 0, sent int not null default 0,
  max_subscriber_id int not null default 0, last_subscriber_id int not null default 0,
  started_at timestamptz, created_at timestamptz not null, updated_at timestamptz not null
);
create table campaign_lists (
  id bigserial primary key, campaign_id int not null references campaigns (id) on delete cascade,
  list_id int references lists (id) on delete set null, list_name text not null default '',
  unique (campaign_id, list_id)
);
create table campaign_views (
  id bigserial primary key, campaign_id int not null references campaigns (id) on delete cascade,
  subscriber_id int references subscribers (id) on delete set null, created_at timestamptz not null
);
create index idx_views_camp_id on campaign_views (campaign_id);
create table links (
  id serial primary key, uuid uuid not null unique, url text not null unique, created_at timestamptz not null
);
create table link_clicks (
  id bigserial primary key, campaign_id int references campaigns (id) on delete cascade,
  link_id int not null references links (id) on delete cascade,
  subscriber_id int references subscribers (id) on delete set null, created_at timestamptz not null
);
create index idx_clicks_camp_id on link_clicks (campaign_id);
create table bounces (
  id serial primary key, subscriber_id int not null references subscribers (id) on delete cascade,
  campaign_id int references campaigns (id) on delete set null, type bounce_type not null default 'hard',
  source text not null default '', meta jsonb not null default '{}', created_at timestamptz not null
);
create table settings (key text not null unique, value jsonb not null, updated_at timestamptz not null);
create table users (
  id serial primary key, username text not null unique, password text, type user_type not null,
  status text not null default 'disabled'
);
"""


class Store:
    """A small pool of connections to one stand-in's own database."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._idle: queue.LifoQueue[Connection[Any]] = queue.LifoQueue()
        self._every: list[Connection[Any]] = []
        self._slots = threading.BoundedSemaphore(CONNECTIONS)

    def prepare(self) -> bool:
        """Make the database and its tables where they are missing; returns whether they were new."""
        self._make_database()
        with self.connection() as connection, connection.transaction():
            connection.execute("select pg_advisory_xact_lock(hashtext('listmonk stand-in'))")
            found = connection.execute("select to_regclass('subscribers') as it").fetchone()
            if found and found["it"]:
                return False
            connection.execute(SCHEMA.encode())
            return True

    @contextmanager
    def connection(self) -> Iterator[Connection[Any]]:
        """A connection in autocommit, rows as mappings; open a `transaction()` on it for more than one statement."""
        with self._slots:
            connection = self._take()
            try:
                yield connection
            finally:
                self._idle.put(connection)

    def rows(self, sql: str, parameters: Mapping[str, Any] | Sequence[Any] = ()) -> list[dict[str, Any]]:
        """Run one query; every row as a mapping."""
        with self.connection() as connection:
            return connection.execute(sql.encode(), parameters).fetchall()

    def row(self, sql: str, parameters: Mapping[str, Any] | Sequence[Any] = ()) -> dict[str, Any] | None:
        """Run one query; its first row."""
        found = self.rows(sql, parameters)
        return found[0] if found else None

    def run(self, sql: str, parameters: Mapping[str, Any] | Sequence[Any] = ()) -> int:
        """Run one statement; returns how many rows it touched."""
        with self.connection() as connection:
            return connection.execute(sql.encode(), parameters).rowcount

    def close(self) -> None:
        """Close every connection."""
        for connection in self._every:
            connection.close()

    def _take(self) -> Connection[Any]:
        try:
            connection = self._idle.get_nowait()
        except queue.Empty:
            return self._connect()
        if connection.closed or connection.broken:
            return self._connect()
        return connection

    def _connect(self) -> Connection[Any]:
        import psycopg
        from psycopg.rows import dict_row

        connection: Connection[Any] = psycopg.connect(self.url, autocommit=True, connect_timeout=5)
        connection.row_factory = dict_row
        self._every.append(connection)
        return connection

    def _make_database(self) -> None:
        import psycopg
        from psycopg import sql
        from psycopg.conninfo import conninfo_to_dict, make_conninfo

        name = str(conninfo_to_dict(self.url).get("dbname") or "")
        with psycopg.connect(make_conninfo(self.url, dbname="postgres"), autocommit=True) as admin:
            if not admin.execute("select 1 from pg_database where datname = %s", (name,)).fetchone():
                admin.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
