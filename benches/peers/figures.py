"""Rows of figures: kept as JSON lines, shown, and written into docs/performance.md between two marks."""

import json
import platform
import statistics
from pathlib import Path

from peer import FIGURES, ROOT

PAGE = ROOT / "docs" / "performance.md"
BEGIN = "<!-- peers: written by benches/peers/run -->"
END = "<!-- end of peers -->"


def machine():
    cpu = next(line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name"))
    memory = int(Path("/proc/meminfo").read_text().split()[1]) / (1 << 20)
    cores = Path("/proc/cpuinfo").read_text().count("processor\t")
    return f"{cores} cores of {cpu.split(': ')[1].strip()}, {memory:.0f} GiB, Linux {platform.release()}"


def row(name, title, version, settings, rounds):
    """One peer's row of all rounds, figure by figure."""
    spread = {
        figure: {"unit": FIGURES[figure][0], "median": statistics.median(values), "min": min(values), "max": max(values)}
        for figure, values in rounds.items()
    }
    count = len(next(iter(rounds.values())))
    return {"peer": name, "title": title, "version": version, "settings": settings, "rounds": count, "figures": spread}


def gap(name, title, version, settings, reason):
    return {"peer": name, "title": title, "version": version, "settings": settings, "gap": reason}


def shown(row):
    name = f"{row['title']} {row['version']} ({row['peer']})"
    if "gap" in row:
        return f"{name:<44} not measured: {row['gap']}"
    figures = [f"{figure} {cell(spread)} {spread['unit']}" for figure, spread in row["figures"].items()]
    return f"{name:<44} {'; '.join(figures)}"


def number(value):
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def cell(spread):
    if spread["min"] == spread["max"]:
        return number(spread["median"])
    return f"{number(spread['median'])} ({number(spread['min'])} … {number(spread['max'])})"


def append(path, entry):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(entry, ensure_ascii=False) + "\n")


def write(heading, rows):
    """The table of one session, in place of the one that was there."""
    servers = ", ".join(heading["servers"].values())
    rounds = "one round" if heading["rounds"] == 1 else f"the median (min … max) of {heading['rounds']} rounds, each"
    lines = [
        f"{heading['date']}, `{heading['command']}`.\\",
        f"{heading['machine']}; data on {heading['file_system']}; load {heading['load']} at the start; {servers}.\\",
        f"{heading['drained']:,} jobs drained, {heading['singles']:,} single jobs, {heading['seconds']} s at 100 a second;"
        f" {rounds} over an empty store.",
        "",
        "| | settings | single, jobs/s | drain, jobs/s | submit → start p50, ms | p99, ms |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        told = f"| {row['title']} {row['version']} | {row['settings']} |"
        if "gap" in row:
            lines.append(f"{told} not measured: {row['gap'].replace('|', '/')} | | | |")
        else:
            lines.append(told + "".join(f" {cell(row['figures'][figure])} |" for figure in FIGURES))
    page = PAGE.read_text()
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    PAGE.write_text(before + BEGIN + "\n\n" + "\n".join(lines) + "\n\n" + END + after)
