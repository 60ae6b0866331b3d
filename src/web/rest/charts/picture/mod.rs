//! Draws an organization chart as a self-contained SVG picture that fits a page.

mod label;
mod layout;
mod outline;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;

use label::{clean, count, fit, thousands};
use layout::{BOX_HEIGHT, BOX_WIDTH, Block};
use outline::{Cell, Tree, What};
use quick_xml::escape::escape;

/// A person of the chart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node<'a> {
    /// The person's id, by which the reports of one manager are ordered.
    pub(super) id: i64,
    /// The person's name.
    pub(super) name: &'a str,
    /// The person's title.
    pub(super) title: &'a str,
    /// The id of the person's manager.
    pub(super) manager: Option<i64>,
}

/// The part of a chart to draw.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PictureOptions {
    /// The person at the top of the picture; by default the head of the chart.
    pub(super) root: Option<i64>,
    /// How many levels to draw below that person; by default as many as fit.
    pub(super) depth: Option<u32>,
}

const MARGIN: i32 = 32;
const MIN_WIDTH: i32 = 640;
/// The height of the heading, and of a line of text below it.
const HEADING: (i32, i32) = (44, 20);
/// The width of text in a box and in the heading, in hundredths of the font size.
const NAME_WIDTH: u32 = 1_280;
const TITLE_WIDTH: u32 = 1_500;
const HEADING_WIDTH: u32 = 2_500;
/// The maximum width of text that is only spoken or shown in a tooltip.
const SPOKEN_WIDTH: u32 = 4_000;

const STYLE: &str = "\
text{font-family:system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif;fill:#0f172a}\
.h{font-size:22px;font-weight:700}.c{font-size:13px;fill:#475569}\
.l{fill:none;stroke:#8494a9;stroke-width:1.5;stroke-linecap:square}\
rect{fill:#fff;stroke:#a3b1c2}.b{font-size:13px;font-weight:600}.t{font-size:11.5px;fill:#475569}\
.m rect{fill:#e8f0fb;stroke:#5b7fb2}.m path{stroke:#1d4f91;stroke-width:4;stroke-linecap:round}\
.r rect{fill:#16365f;stroke:#16365f}.r path{stroke:#f0b429}.r .b{fill:#fff}.r .t{fill:#d5e1f0}\
.b,.t{clip-path:url(#box)}\
.o rect{fill:#f8fafc;stroke:#64748b;stroke-dasharray:4 3}.o text{fill:#334155}\
.m .f{fill:#475569;stroke:#f8fafc;stroke-width:1.5}.m .g{font-size:10.5px;font-weight:600;fill:#fff;text-anchor:middle}";

/// Draws a chart or a part of it; `None` if nobody has the id `root`.
///
/// Large teams, deep levels and anything beyond the maximum size are folded into counts, which the
/// text below the heading explains. The picture is one SVG document without scripts or references,
/// and safe for any names and titles.
#[must_use]
pub(super) fn draw(
    chart_name: &str,
    nodes: &[Node<'_>],
    options: &PictureOptions,
) -> Option<String> {
    let chart_name = fit(&clean(chart_name), SPOKEN_WIDTH);
    if nodes.is_empty() && options.root.is_none() {
        let nobody = "This chart has no people yet.".to_owned();
        return Some(document(&chart_name, &nobody, std::slice::from_ref(&nobody), (0, 0), ""));
    }
    let tree = Tree::new(nodes, options.root)?;
    let cells = tree.outline(options.depth);
    let block = layout::lay_out(&cells);
    let drawing = Drawing { nodes, tree: &tree, cells: &cells };
    let caption = drawing.caption(options.root.is_some());
    let (left, right) = block.span();
    let x = MARGIN - left + (MIN_WIDTH - 2 * MARGIN - (right - left)).max(0) / 2;
    let body = drawing.body(&block, x, header_height(caption.len()));
    Some(document(&chart_name, &drawing.summary(), &caption, (right - left, block.height()), &body))
}

fn header_height(lines: usize) -> i32 {
    let lines = i32::try_from(lines).unwrap_or(i32::MAX);
    MARGIN + HEADING.0 + HEADING.1.saturating_mul(lines)
}

fn document(name: &str, summary: &str, caption: &[String], size: (i32, i32), body: &str) -> String {
    let width = (size.0 + 2 * MARGIN).max(MIN_WIDTH);
    let height = header_height(caption.len()) + size.1 + MARGIN;
    let edge = BOX_WIDTH - 4;
    let mut lines = String::new();
    for (y, line) in (MARGIN + HEADING.0..).step_by(20).zip(caption) {
        let _ = write!(lines, r#"<text class="c" x="{MARGIN}" y="{y}">{}</text>"#, escape(line));
    }
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="graphics-document document" aria-roledescription="organization chart" aria-labelledby="title desc">
<title id="title">{}</title>
<desc id="desc">{}</desc>
<style>{STYLE}</style>
<clipPath id="box"><path d="M0 0H{edge}V{BOX_HEIGHT}H0z"/></clipPath>
<path fill="#f8fafc" d="M0 0H{width}V{height}H0z"/>
<text class="h" x="{MARGIN}" y="{}">{}</text>
{lines}
{body}</svg>
"##,
        escape(name),
        escape(summary),
        MARGIN + 20,
        escape(fit(name, HEADING_WIDTH)),
    )
}

/// Writes the parts of a picture.
struct Drawing<'a> {
    nodes: &'a [Node<'a>],
    tree: &'a Tree,
    cells: &'a [Cell],
}

impl Drawing<'_> {
    fn name(&self, node: usize) -> String {
        let name = clean(self.nodes[node].name);
        if name.is_empty() { "(no name)".to_owned() } else { fit(&name, SPOKEN_WIDTH) }
    }

    fn title(&self, node: usize) -> String {
        fit(&clean(self.nodes[node].title), SPOKEN_WIDTH)
    }

    /// `Ada Lovelace, Chief Engineer`.
    fn person(&self, node: usize) -> String {
        let title = self.title(node);
        let comma = if title.is_empty() { "" } else { ", " };
        format!("{}{comma}{title}", self.name(node))
    }

    fn summary(&self) -> String {
        let people = count(self.tree.size[self.tree.top], "person", "people");
        let levels = count(self.tree.levels, "level", "levels");
        format!(
            "Organization chart of {people} in {levels}. At the top: {}.",
            self.person(self.tree.top)
        )
    }

    fn caption(&self, is_part: bool) -> Vec<String> {
        let total = self.tree.size[self.tree.top];
        let drawn =
            self.cells.iter().filter(|cell| matches!(cell.what, What::Person { .. })).count();
        let levels = count(self.tree.levels, "level", "levels");
        let people = count(total, "person", "people");
        let mut lines = Vec::new();
        if is_part {
            lines.push(fit(&format!("The team of {}", self.person(self.tree.top)), 4_200));
        }
        lines.push(if drawn == total {
            format!("{people} in {levels}")
        } else {
            let drawn = thousands(drawn);
            format!("{drawn} of {people} in {levels} shown; a “+” counts the others")
        });
        let apart = self.nodes.len() - total;
        if apart > 0 && !is_part {
            let people = count(apart, "person is", "people are");
            lines.push(format!("{people} not connected to the top and left out."));
        }
        lines
    }

    fn body(&self, block: &Block, x: i32, y: i32) -> String {
        let mut svg = String::from(r#"<path class="l" aria-hidden="true" d=""#);
        for &[x1, y1, x2, y2] in &block.lines {
            // The commands for horizontal and vertical lines halve the text.
            let (x1, y1, x2, y2) = (x1 + x, y1 + y, x2 + x, y2 + y);
            let end = if y1 == y2 { format!("H{x2}") } else { format!("V{y2}") };
            let _ = write!(svg, "M{x1} {y1}{end}");
        }
        svg.push_str("\"/>\n");
        for &(at, middle, top) in &block.boxes {
            let (x, y) = (middle + x - BOX_WIDTH / 2, top + y);
            let (class, label, inside) = match self.cells[at].what {
                What::Person { node, folded } => self.person_box(node, folded),
                What::More { boss, people, below } => self.more_box(boss, people, below),
            };
            let _ = writeln!(
                svg,
                r#"<g class="{class}" role="graphics-symbol img" transform="translate({x} {y})"><title>{}</title><rect width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="8"/>{inside}</g>"#,
                escape(&label),
            );
        }
        svg
    }

    fn person_box(&self, node: usize, folded: usize) -> (&'static str, String, String) {
        let mut label = self.person(node);
        if let Some(boss) = self.tree.boss[node] {
            let _ = write!(label, ", reports to {}", self.name(boss));
        }
        let reports = self.tree.reports[node].len();
        let mut inside = String::new();
        if reports > 0 {
            let _ = write!(label, ", {}", count(reports, "direct report", "direct reports"));
            inside.push_str(r#"<path d="M6 13v22"/>"#);
        }
        inside.push_str(&two_lines(&self.name(node), &self.title(node)));
        if folded > 0 {
            let _ = write!(label, ", {} below not shown", count(folded, "person", "people"));
            inside.push_str(&badge(&format!("+ {} below", thousands(folded))));
        }
        let class = match (node == self.tree.top, reports > 0) {
            (true, _) => "m r",
            (false, true) => "m",
            (false, false) => "p",
        };
        (class, label, inside)
    }

    fn more_box(&self, boss: usize, people: usize, below: usize) -> (&'static str, String, String) {
        let second =
            if below > 0 { format!("with {} below them", thousands(below)) } else { String::new() };
        let boss = self.name(boss);
        let label =
            format!("{} to {boss}, not shown", count(people, "more report", "more reports"));
        ("o", label, two_lines(&format!("+ {} more", thousands(people)), &second))
    }
}

fn two_lines(first: &str, second: &str) -> String {
    let (first, second) = (escape(fit(first, NAME_WIDTH)), escape(fit(second, TITLE_WIDTH)));
    if second.is_empty() {
        return format!(r#"<text class="b" x="14" y="29">{first}</text>"#);
    }
    format!(
        r#"<text class="b" x="14" y="19">{first}</text><text class="t" x="14" y="35">{second}</text>"#
    )
}

/// A small label on the lower edge of a box.
fn badge(text: &str) -> String {
    let width = 18 + (label::width(text) * 11 / 100).cast_signed();
    let (x, middle, y) = (BOX_WIDTH - width - 10, BOX_WIDTH - 10 - width / 2, BOX_HEIGHT - 7);
    format!(
        r#"<rect class="f" x="{x}" y="{y}" width="{width}" height="17" rx="8"/><text class="g" x="{middle}" y="{}">{text}</text>"#,
        y + 12,
    )
}
