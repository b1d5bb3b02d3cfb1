"""Triptych in other sizes: one to three processes that count together, and 10,000 keys in 100 orgs."""

from __future__ import annotations

import importlib.util
import os
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from bench.process import Running, free_port, start, wait_for
from bench.targets import UNLIMITED, Triptych, key_secrets, triptych_config

NODE_COUNTS = (1, 2, 3)
ORGS = 100
KEYS_PER_ORG = 100
NEEDS = ("TRIPTYCH_TEST_POSTGRES_URL", "TRIPTYCH_TEST_REDIS_URL")


@dataclass(slots=True)
class ManyNodes(Triptych):
    """``serve --workers N`` on PostgreSQL and Redis. CPU time is that of all its processes; the servers'
    own is not in it."""

    count: int = 1
    schema: str = ""

    def absent(self) -> str | None:
        """Absent without servers that may be used freely."""
        if missing := [name for name in NEEDS if not os.environ.get(name)]:
            return f"{' and '.join(missing)} not set"
        if importlib.util.find_spec("psycopg") is None:
            return "psycopg is not installed"
        return Triptych.absent(self)

    def start(self, work_dir: Path, mock_port: int) -> Running:
        """Starts the workers on a schema of their own."""
        import psycopg

        postgres, redis = (os.environ[name] for name in NEEDS)
        self.schema = f"triptych_bench_{uuid.uuid4().hex}"
        with psycopg.connect(postgres, autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA {self.schema}")  # type: ignore[arg-type]
        work_dir.mkdir(parents=True, exist_ok=True)
        port = free_port()
        separator = "&" if "?" in postgres else "?"
        url = f"{postgres}{separator}options=-csearch_path%3D{self.schema}"
        text = triptych_config(port, mock_port, work_dir / "bench.db", self.durability)
        text = text.replace(f'url = "sqlite:///{work_dir / "bench.db"}"', f'url = "{url}"')
        config = work_dir / "triptych.toml"
        config.write_text(f'[limits]\nurl = "{redis}"\n\n[secrets]\nmaster_key = "{self.schema}"\n\n{text}')
        command = [self.command, "serve", "--config", config, "--workers", str(self.count)]
        return start(command, port, work_dir, {})

    def prepare(self, running: Running) -> list[str]:
        """Waits until every worker serves."""
        wait_for(running, "GET", "/readyz")
        while self.count > 1 and "workers serving" not in running.log.read_text(errors="replace"):
            if running.process.poll() is not None:
                raise running.failure("it ended before all workers served")
            time.sleep(0.05)
        return key_secrets()

    def clean_up(self) -> None:
        """Takes the schema away."""
        import psycopg

        with psycopg.connect(os.environ[NEEDS[0]], autocommit=True) as connection:
            connection.execute(f"DROP SCHEMA IF EXISTS {self.schema} CASCADE")  # type: ignore[arg-type]


@dataclass(slots=True)
class ManyKeys(Triptych):
    """10,000 keys of 100 orgs, of which the first few, or all, ask in turn."""

    asking: int = ORGS * KEYS_PER_ORG

    def start(self, work_dir: Path, mock_port: int) -> Running:
        """Starts `triptych serve`; all keys are applied before it is ready."""
        work_dir.mkdir(parents=True, exist_ok=True)
        port = free_port()
        text = triptych_config(port, mock_port, work_dir / "bench.db", self.durability)
        config = work_dir / "triptych.toml"
        config.write_text(text.partition("[[orgs]]")[0] + "".join(_org(number) for number in range(ORGS)))
        return start([self.command, "serve", "--config", config], port, work_dir, {})

    def prepare(self, running: Running) -> list[str]:
        """The keys that ask, neighbours of different orgs."""
        wait_for(running, "GET", "/readyz")
        return [_secret(org, key) for key in range(KEYS_PER_ORG) for org in range(ORGS)][: self.asking]


def installations() -> list[Triptych]:
    """In the order of the tables."""
    nodes = [
        ManyNodes(
            workloads=frozenset({"nodes"}),
            name=f"triptych-{count}-nodes",
            title=f"Triptych, {count} process{'es' if count > 1 else ''}",
            notes="PostgreSQL and Redis; CPU time without theirs",
            count=count,
        )
        for count in NODE_COUNTS
    ]
    few = Triptych(workloads=frozenset({"keys"}), name="triptych-10-keys", title="Triptych, 10 keys")
    everybody = f"Triptych, {ORGS * KEYS_PER_ORG:,} keys in {ORGS} orgs"
    some = ManyKeys(
        workloads=frozenset({"keys"}),
        name="triptych-10000-keys-10-asking",
        title=f"{everybody}, ten of them asking",
        asking=10,
    )
    many = ManyKeys(
        workloads=frozenset({"keys"}), name="triptych-10000-keys", title=f"{everybody}, all asking in turn"
    )
    return [*nodes, few, some, many]


def _secret(org: int, key: int) -> str:
    return f"trp_bench_{org:03d}_{key:03d}_5f1c0a7be2d94c38a6b1"


def _org(number: int) -> str:
    limits = f"rpm = {UNLIMITED}\nrpd = {UNLIMITED}"
    keys = "".join(
        f'[[orgs.keys]]\nname = "k{key}"\nuser = "bench"\nsecret = "{_secret(number, key)}"\n{limits}\n'
        for key in range(KEYS_PER_ORG)
    )
    return f"""
[[orgs]]
slug = "bench-{number}"
plan = "enterprise"
{limits}
[[orgs.groups]]
name = "everyone"
models = ["*"]
api_key_access = true
[[orgs.users]]
name = "bench"
groups = ["everyone"]
{keys}"""
