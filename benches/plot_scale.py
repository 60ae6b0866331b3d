#!/usr/bin/env python3
"""Draws docs/scale.svg from docs/scale.csv, which `cargo bench --bench http -- --mix scale` writes."""

import csv
import html
import pathlib

DOCS = pathlib.Path(__file__).resolve().parent.parent / "docs"
PANELS = [
    ("Sign-ups per second", [("creates_per_s", "")]),
    ("A find after a restart, ms", [("find_p50_ms", "p50"), ("find_p99_ms", "p99")]),
    ("Memory of mongod, MiB", [("memory_mib", "")]),
    ("Files", [("data_files", "on disk"), ("handles_under_finds", "open, at most")]),
    ("Longest checkpoint, ms", [("checkpoint_ms", "")]),
    ("Restart, s", [("restart_after_stop_s", "after a stop"), ("restart_after_kill_s", "after a kill")]),
]
COLORS = ["#2563eb", "#dc2626"]
COLUMNS, WIDTH, HEIGHT = 3, 320, 220
LEFT, RIGHT, TOP, BOTTOM = 52, 16, 34, 36


def nice(value):
    """The least round number that is not below the value."""
    unit = 10 ** (len(str(int(value))) - 1)
    return next(step * unit for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if step * unit >= value)


def short(value):
    return f"{value / 1000:g}k" if value >= 1000 else f"{value:g}"


def panel(title, series, rows, x0, y0):
    xs = [float(row["tenants"]) for row in rows]
    x_most = nice(max(xs))
    y_most = nice(max(float(row[name]) for row in rows for name, _ in series) or 1)
    wide, high = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def place(x, y):
        return x0 + LEFT + x / x_most * wide, y0 + TOP + high - y / y_most * high

    parts = [f'<text x="{x0 + LEFT}" y="{y0 + 18}" class="title">{html.escape(title)}</text>']
    for part in (0, 0.5, 1):
        _, y = place(0, y_most * part)
        parts.append(f'<line x1="{x0 + LEFT}" x2="{x0 + LEFT + wide}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>')
        parts.append(f'<text x="{x0 + LEFT - 6}" y="{y + 4:.1f}" class="y">{short(y_most * part)}</text>')
        x, _ = place(x_most * part, 0)
        parts.append(f'<text x="{x:.1f}" y="{y0 + TOP + high + 18}" class="x">{short(x_most * part)}</text>')
    for number, (name, label) in enumerate(series):
        points = [place(x, float(row[name])) for x, row in zip(xs, rows)]
        color = COLORS[number]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{color}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{color}"/>' for x, y in points]
        if label:
            at = f'x="{x0 + LEFT + 8}" y="{y0 + TOP + 12 + 15 * number}"'
            parts.append(f'<text {at} style="fill:{color}">{html.escape(label)}</text>')
    return parts


def main():
    with open(DOCS / "scale.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    lines = -(-len(PANELS) // COLUMNS)
    width, height = COLUMNS * WIDTH, lines * HEIGHT + 20
    style = (
        "text{font:12px system-ui,sans-serif;fill:#374151}.title{font-weight:600;fill:#111827}"
        ".x{text-anchor:middle}.y{text-anchor:end}.grid{stroke:#e5e7eb}"
    )
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">',
        "<title>What tenants cost one mongod</title>",
        f"<style>{style}</style>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    for number, (title, series) in enumerate(PANELS):
        parts += panel(title, series, rows, number % COLUMNS * WIDTH, number // COLUMNS * HEIGHT)
    parts.append(f'<text x="{width / 2}" y="{height - 6}" class="x">tenants of one mongod</text>')
    parts.append("</svg>")
    (DOCS / "scale.svg").write_text("\n".join(parts) + "\n", encoding="utf-8")


main()
