"""Turns the numbers of a run into a summary and into `docs/benchmarks.md`."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

from bench.workloads import CPU_WORKLOADS, KEYS, LATENCY_WORKLOADS, NODES, OPEN_STREAMS

Summary = dict[str, dict[str, dict[str, dict[str, float]]]]
SAME_WIRE_MORE = 0.1
UNITS = {"us": 1.0, "1/s": 1.0, "ms": 1e-3, "MB": 1e-6, "s": 1.0}
NUMBERS_NOT_SUMMARISED = {"round", "target", "generator", "faults", "minute_and_bytes"}
MISSING = "-"
PAGE_TEMPLATE = Path(__file__).resolve().parent / "page.md"


@dataclass(frozen=True, slots=True)
class Bar:
    """One line of the performance budget: where its number is, the first bar and the aim, in `unit`."""

    label: str
    scenario: str
    metric: str
    unit: str
    first_bar: float
    aim: float | None
    target: str = "triptych"


BARS = (
    Bar("`POST /v1/messages`, same wire: CPU per request", "json-1k", "cpu_us_per_request", "us", 90, 50),
    Bar(
        "the same, with tokens, credits and money held",
        "json-1k",
        "cpu_us_per_request",
        "us",
        90,
        50,
        "triptych-budgets",
    ),
    Bar("streamed event, same wire: CPU per event", "stream", "cpu_us_per_event", "us", 18, 11),
    Bar("the same, with the guard", "stream", "cpu_us_per_event", "us", 30, 18, "triptych-guard"),
    Bar(
        "translated request (chat to messages): CPU per request",
        "translated",
        "cpu_us_per_request",
        "us",
        220,
        110,
    ),
    Bar(
        "translated streamed event (chat from messages): CPU per event",
        "translated-stream",
        "cpu_us_per_event",
        "us",
        40,
        None,
    ),
    Bar("refused request (unknown key): CPU per request", "refused", "cpu_us_per_request", "us", 40, 25),
    Bar("added latency, c=1, strict: p50", "latency-c1", "added_p50_us", "ms", 0.8, 0.5),
    Bar("added latency, c=1, strict: p99", "latency-c1", "added_p99_us", "ms", 2.5, 1.5),
    Bar("added latency, c=1, process: p50", "latency-c1", "added_p50_us", "ms", 0.4, 0.3, "triptych-process"),
    Bar("added latency, c=1, process: p99", "latency-c1", "added_p99_us", "ms", 1.5, 1.0, "triptych-process"),
    Bar("memory, idle", "memory", "idle_bytes", "MB", 90, None),
    Bar(f"memory, {OPEN_STREAMS:,} open streams", "memory", "open_streams_bytes", "MB", 160, None),
    Bar(
        f"memory, {OPEN_STREAMS:,} open translated streams",
        "memory-translated",
        "open_streams_bytes",
        "MB",
        250,
        None,
    ),
    Bar("memory, idle, with the guard", "memory", "idle_bytes", "MB", 170, None, "triptych-guard"),
    Bar("memory growth under load, per minute", "soak", "growth_bytes_per_minute", "MB", 0.1, None),
    Bar("start to first `/v1/messages` answer, new database", "startup", "first_answer_s", "s", 1.0, 0.5),
)


def elsewhere_share(scenarios: dict[str, Any]) -> float | None:
    """The median share of the machine that other processes took; None when it was not measured."""
    shares = [
        run["elsewhere_share"] for of in scenarios.values() for run in of["runs"] if "elsewhere_share" in run
    ]
    return round(statistics.median(shares), 4) if shares else None


def summarise(scenarios: dict[str, Any]) -> Summary:
    """Median, least and greatest of every number, by scenario, target and metric.

    Streams get `cpu_us_per_event_net` too: the CPU time that is left per event when each stream has paid for
    one plain request (the median of `json-1k` in the same session).
    """
    summary: Summary = {}
    for scenario, found in scenarios.items():
        values: dict[str, dict[str, list[float]]] = {}
        for run in found["runs"]:
            of_target = values.setdefault(run["target"], {})
            for metric, value in run.items():
                if metric not in NUMBERS_NOT_SUMMARISED:
                    of_target.setdefault(metric, []).append(float(value))
        summary[scenario] = {
            target: {metric: spread(series) for metric, series in metrics.items()}
            for target, metrics in values.items()
        }
    for scenario in ("stream", "stream-burst"):
        for target, metrics in summary.get(scenario, {}).items():
            plain = summary.get("json-1k", {}).get(target)
            runs = [run for run in scenarios[scenario]["runs"] if run["target"] == target]
            if plain is not None:
                request_us = plain["cpu_us_per_request"]["median"]
                metrics["cpu_us_per_event_net"] = spread(
                    [(run["cpu_us"] - run["requests"] * request_us) / max(1, run["events"]) for run in runs]
                )
    return summary


def spread(values: list[float]) -> dict[str, float]:
    """Median, least, greatest and number of the values."""
    return {
        "median": round(statistics.median(values), 4),
        "min": round(min(values), 4),
        "max": round(max(values), 4),
        "n": len(values),
    }


def shown(value: float) -> str:
    """A number with three significant digits, without an exponent."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def cell(found: dict[str, float] | None, unit: str = "us") -> str:
    """`median (least - greatest)` of a metric in `unit`."""
    if found is None:
        return MISSING
    scale = UNITS[unit]
    middle, least, greatest = (shown(found[name] * scale) for name in ("median", "min", "max"))
    return f"{middle} ({least} - {greatest})"


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def bars_table(summary: Summary) -> str:
    """The performance budget beside what was measured."""
    rows = []
    for bar in BARS:
        found = summary.get(bar.scenario, {}).get(bar.target, {}).get(bar.metric)
        verdict = "not measured"
        if found is not None:
            value = found["median"] * UNITS[bar.unit]
            over = f"over the bar by {shown((value / bar.first_bar - 1) * 100)} %"
            verdict = "within the bar" if value <= bar.first_bar else over
            if bar.aim is not None and value <= bar.aim:
                verdict = "aim reached"
        aim = MISSING if bar.aim is None else f"{bar.aim:g} {bar.unit}"
        rows.append([bar.label, f"{bar.first_bar:g} {bar.unit}", aim, cell(found, bar.unit), verdict])
    messages = summary.get("json-1k", {}).get("triptych", {}).get("cpu_us_per_request")
    for name in ("chat-1k", "responses-1k"):
        found = summary.get(name, {}).get("triptych", {}).get("cpu_us_per_request")
        measured, verdict = MISSING, "not measured"
        if messages is not None and found is not None:
            more = found["median"] / messages["median"] - 1
            measured, verdict = f"{more:+.1%}", "within the bar" if more <= SAME_WIRE_MORE else "over the bar"
        label = f"`{name}`: CPU per request more than `POST /v1/messages`"
        rows.append([label, f"{SAME_WIRE_MORE:.0%}", MISSING, measured, verdict])
    return table(["path", "first bar", "aim", "measured", ""], rows)


def peers_table(summary: Summary, targets: list[str]) -> str:
    """CPU time of every target for every workload, and how many times Triptych's it is."""
    rows = []
    for workload in CPU_WORKLOADS:
        metrics = ["cpu_us_per_event", "cpu_us_per_event_net"] if workload.stream else ["cpu_us_per_request"]
        for metric in metrics:
            found = {name: summary.get(workload.name, {}).get(name, {}).get(metric) for name in targets}
            own = found.get("triptych")
            cells = []
            for name in targets:
                text = cell(found[name])
                value = found[name]
                if own is not None and value is not None and name not in ("triptych", "direct"):
                    text += (
                        f", x{shown(value['median'] / own['median'])}"
                        if min(own["median"], value["median"]) > 0
                        else ""
                    )
                cells.append(text)
            per = {"cpu_us_per_event": " per event", "cpu_us_per_event_net": " per event, net"}
            rows.append([workload.title + per.get(metric, ""), *cells])
    return table(["CPU time, us", *targets], rows)


def rates_table(summary: Summary, targets: list[str]) -> str:
    """Requests a second and latency under load."""
    rows = []
    for workload in CPU_WORKLOADS:
        of = summary.get(workload.name, {})
        if not of:
            continue
        rows.append([workload.title] + [rate_cell(of[name]) if name in of else MISSING for name in targets])
    return table(["requests a second, p99 of latency", *targets], rows)


def rate_cell(metrics: dict[str, dict[str, float]]) -> str:
    """Medians of requests a second and of the 99th percentile of latency."""
    p99_ms = metrics["p99_us"]["median"] * UNITS["ms"]
    return f"{shown(metrics['requests_per_s']['median'])}/s, {shown(p99_ms)} ms"


def latency_table(summary: Summary, targets: list[str]) -> str:
    """What a target adds to the latency of the provider."""
    rows = []
    for name, workload in LATENCY_WORKLOADS.items():
        for metric in ("p50", "p99"):
            of = summary.get(name, {})
            added = [cell(of.get(target, {}).get(f"added_{metric}_us"), "ms") for target in targets]
            rows.append([f"{workload.title}: {metric}", *added])
    return table(["added, ms", *targets], rows)


def resources_table(summary: Summary, targets: list[str]) -> str:
    """Memory and start-up."""
    lines = [
        ("memory, idle, MB", "memory", "idle_bytes", "MB"),
        (f"memory, {OPEN_STREAMS:,} open streams, MB", "memory", "open_streams_bytes", "MB"),
        ("memory, 2 s after they ended, MB", "memory", "after_bytes", "MB"),
        ("threads", "memory", "threads", "s"),
        ("first start to health answer, s", "startup", "first_health_s", "s"),
        ("first start to model answer, s", "startup", "first_answer_s", "s"),
        ("second start to model answer, s", "startup", "second_answer_s", "s"),
    ]
    rows = [
        [label, *(cell(summary.get(scenario, {}).get(target, {}).get(metric), unit) for target in targets)]
        for label, scenario, metric, unit in lines
    ]
    return table(["", *targets], rows)


def installations_table(summary: Summary, titles: dict[str, str]) -> str:
    """Several processes, and many keys; nothing where neither was measured."""
    rows = []
    for workload in (NODES, KEYS):
        of = summary.get(workload.name, {})
        first = next((of[name] for name in titles if name in of), None)
        for name in (name for name in titles if name in of):
            rates, cpu = of[name]["requests_per_s"], of[name]["cpu_us_per_request"]
            assert first is not None
            ratio = rates["median"] / first["requests_per_s"]["median"]
            p99_ms = shown(of[name]["p99_us"]["median"] * UNITS["ms"])
            rows.append([titles[name], cell(rates, "1/s"), f"x{ratio:.2f}", cell(cpu), p99_ms])
    head = ["", "requests/s", "of the first", "CPU per request, us", "p99, ms"]
    return table(head, rows) if rows else "Not measured."


def remarks(results: dict[str, Any]) -> str:
    """What was skipped and what was answered wrongly."""
    lines = []
    for name, found in results["scenarios"].items():
        lines += [
            f"- `{name}`, {target}: not run: {why.splitlines()[0]}"
            for target, why in found["skipped"].items()
        ]
        for run in found["runs"]:
            if run["errors"]:
                why = run["faults"][0] if run["faults"] else "no description"
                lines.append(f"- `{name}`, {run['target']}: {run['errors']} faults: {why}")
    lines += [f"- {name}: not measured: {why}" for name, why in results["absent"].items()]
    return (
        "\n".join(dict.fromkeys(lines))
        or "Nothing: every target ran every workload and every answer was right."
    )


def render(results: dict[str, Any], source: str) -> str:
    """The whole page."""
    summary: Summary = results["summary"]
    targets = [name for name in results["targets"] if name != "direct"]
    gateways = [name for name in targets if name not in ("triptych-process", "triptych-budgets")]
    machine = results["machine"]
    versions = "\n".join(
        f"- **{name}**: {about['title']}, version {about['version']}; {about['notes']}"
        for name, about in results["targets"].items()
    )
    share = machine.get("elsewhere_share")
    every = [*targets, "direct"]
    return Template(PAGE_TEMPLATE.read_text()).substitute(
        {name: str(results[name]) for name in ("started_at", "revision", "rounds")},
        **{name: str(machine[name]) for name in ("cpu", "cores", "memory_gb", "kernel", "python")},
        source=source,
        elsewhere="an unknown share" if share is None else f"{share:.0%}",
        kind="a quick run (short windows)" if results["quick"] else "a full run",
        bars=bars_table(summary),
        peers=peers_table(summary, every),
        rates=rates_table(summary, every),
        latency=latency_table(summary, targets),
        resources=resources_table(summary, gateways),
        installations=installations_table(summary, results.get("installations", {})),
        versions=versions,
        remarks=remarks(results),
    )
