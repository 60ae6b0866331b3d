//! Rows, ratios and the table of a report.

use std::fmt::{self, Display};

use super::load::Sample;

/// CPU seconds used by the server, `mongod` and the client.
#[derive(Clone, Copy)]
pub(crate) struct Cpu {
    pub(crate) server: Option<f64>,
    pub(crate) mongod: f64,
    pub(crate) client: f64,
}

/// One line of the table.
pub(crate) struct Row {
    what: String,
    sample: Sample,
    cpu: Cpu,
}

/// The figures of a row that are compared.
#[derive(Clone, Copy)]
pub(crate) struct Figures {
    pub(crate) rate: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    /// The server's CPU seconds per 1000 requests.
    pub(crate) server_cpu: Option<f64>,
    /// The CPU seconds of `mongod` per 1000 requests.
    pub(crate) mongod_cpu: f64,
}

/// A comparison within this run.
struct Ratio {
    what: String,
    value: String,
    goal: Option<(String, bool)>,
}

#[derive(Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
    ratios: Vec<Ratio>,
    notes: Vec<String>,
}

impl Cpu {
    pub(crate) const NONE: Self = Self { server: None, mongod: 0.0, client: 0.0 };

    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            server: self.server.into_iter().chain(other.server).reduce(|a, b| a + b),
            mongod: self.mongod + other.mongod,
            client: self.client + other.client,
        }
    }

    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            server: self.server.zip(before.server).map(|(now, then)| now - then),
            mongod: self.mongod - before.mongod,
            client: self.client - before.client,
        }
    }
}

impl Row {
    pub(crate) fn new(what: &str, sample: Sample, cpu: Cpu) -> Self {
        Self { what: what.to_owned(), sample, cpu }
    }

    pub(crate) fn figures(&self) -> Figures {
        Figures {
            rate: self.sample.rate(),
            p50: self.sample.percentile(50),
            p99: self.sample.percentile(99),
            server_cpu: self.cpu.server.map(|seconds| self.per_thousand(seconds)),
            mongod_cpu: self.per_thousand(self.cpu.mongod),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    fn per_thousand(&self, seconds: f64) -> f64 {
        seconds * 1e3 / self.sample.count().max(1) as f64
    }
}

impl Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sample, figures) = (&self.sample, self.figures());
        let server = figures.server_cpu.map_or("-".to_owned(), |seconds| format!("{seconds:.3}"));
        write!(
            f,
            "| {:<48} | {:>9.1} | {:>8.2} | {:>8.2} | {:>8.2} | {:>6} | {:>7} | {:>7.3} | {:>7.3} |",
            self.what,
            figures.rate,
            figures.p50,
            figures.p99,
            sample.percentile(100),
            sample.errors,
            server,
            self.per_thousand(self.cpu.mongod),
            self.per_thousand(self.cpu.client),
        )
    }
}

impl Report {
    pub(crate) fn add(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// Adds a sentence below the tables.
    pub(crate) fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// Adds the reached share of a floor, which must be at least `goal` if there is one.
    pub(crate) fn share(&mut self, what: &str, measured: f64, floor: f64, goal: Option<f64>) {
        let share = measured / floor;
        let goal = goal.map(|goal| (format!("at least {:.0} %", goal * 100.0), share >= goal));
        let value = format!("{:.0} %", share * 100.0);
        self.ratios.push(Ratio { what: what.to_owned(), value, goal });
    }

    /// Adds a multiple of `base`, which must be at most `goal` if there is one.
    pub(crate) fn times(&mut self, what: &str, measured: f64, base: f64, goal: Option<f64>) {
        let times = measured / base;
        let goal = goal.map(|goal| (format!("at most {goal:.1}"), times <= goal));
        self.ratios.push(Ratio { what: what.to_owned(), value: format!("{times:.2}"), goal });
    }

    /// Adds a rate that must reach `goal` per second.
    pub(crate) fn at_least(&mut self, what: &str, rate: f64, goal: f64) {
        let goal = Some((format!("at least {goal:.0}/s"), rate >= goal));
        self.ratios.push(Ratio { what: what.to_owned(), value: format!("{rate:.0}/s"), goal });
    }

    /// Adds a latency that must be below `goal` milliseconds.
    pub(crate) fn below(&mut self, what: &str, milliseconds: f64, goal: f64) {
        let value = format!("{milliseconds:.1} ms");
        let goal = Some((format!("below {goal:.0} ms"), milliseconds < goal));
        self.ratios.push(Ratio { what: what.to_owned(), value, goal });
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| {:<48} | {:>9} | {:>8} | {:>8} | {:>8} | {:>6} | {:>7} | {:>7} | {:>7} |",
            "CPU: seconds per 1000 requests",
            "per s",
            "p50 ms",
            "p99 ms",
            "max ms",
            "errors",
            "server",
            "mongod",
            "client"
        )?;
        f.write_str("|---|--:|--:|--:|--:|--:|--:|--:|--:|\n")?;
        for row in &self.rows {
            writeln!(f, "{row}")?;
        }
        f.write_str("\n| compared in this run | ratio | goal | met |\n|---|--:|---|---|\n")?;
        for ratio in &self.ratios {
            let (goal, met) = match &ratio.goal {
                Some((goal, met)) => (goal.as_str(), if *met { "yes" } else { "NO" }),
                None => ("", ""),
            };
            writeln!(f, "| {} | {} | {goal} | {met} |", ratio.what, ratio.value)?;
        }
        self.notes.iter().try_for_each(|note| write!(f, "\n{note}\n"))
    }
}
