//! Parses a Markdown page: its blocks to run with their answers, its links and its anchors.
//!
//! `sh` blocks run in order in one shell. A `json` or `text` block that follows under the same
//! heading is all that the block prints. `console` blocks are not run.

use std::collections::BTreeSet;

use serde_json::Value;

pub(super) struct Page {
    pub(super) name: String,
    pub(super) steps: Vec<Step>,
    pub(super) anchors: BTreeSet<String>,
    /// Link targets with their lines.
    pub(super) links: Vec<(usize, String)>,
}

/// A block to run.
pub(super) struct Step {
    pub(super) line: usize,
    pub(super) script: String,
    pub(super) answer: Option<Answer>,
}

pub(super) struct Answer {
    pub(super) line: usize,
    pub(super) json: bool,
    pub(super) text: String,
}

impl Answer {
    /// The values of a `json` block.
    pub(super) fn values(&self) -> Result<Vec<Value>, serde_json::Error> {
        serde_json::Deserializer::from_str(&self.text).into_iter().collect()
    }

    /// The statuses of the shown problems.
    pub(super) fn statuses(&self) -> Vec<u64> {
        let values = if self.json { self.values().unwrap_or_default() } else { Vec::new() };
        values.iter().filter_map(|value| value["status"].as_u64()).collect()
    }
}

impl Page {
    pub(super) fn parse(name: &str, text: &str) -> Result<Self, String> {
        let mut page = Self {
            name: name.to_owned(),
            steps: Vec::new(),
            anchors: BTreeSet::new(),
            links: Vec::new(),
        };
        let mut lines = text.lines().enumerate();
        let mut answers = false;
        while let Some((at, line)) = lines.next() {
            let line_number = at + 1;
            if let Some(kind) = line.trim_start().strip_prefix("```") {
                let inside = lines.by_ref().map(|(_, line)| line);
                let inside = inside.take_while(|line| line.trim_start() != "```");
                let block: String = inside.flat_map(|line| [line, "\n"]).collect();
                answers = page.block(line_number, kind, block, answers)?;
            } else {
                answers &= !line.starts_with('#');
                page.line(line_number, line);
            }
        }
        Ok(page)
    }

    /// Adds a block; returns whether the next block may be its answer.
    fn block(
        &mut self,
        line: usize,
        kind: &str,
        text: String,
        answers: bool,
    ) -> Result<bool, String> {
        match kind {
            "sh" => self.steps.push(Step { line, script: text, answer: None }),
            "json" | "text" => {
                let last = self.steps.last_mut().filter(|_| answers);
                if let Some(step) = last {
                    step.answer = Some(Answer { line, json: kind == "json", text });
                }
            }
            "console" | "" => {}
            kind => {
                return Err(format!("{}:{line}: a block of the unknown kind `{kind}`", self.name));
            }
        }
        Ok(kind == "sh")
    }

    fn line(&mut self, number: usize, line: &str) {
        let level = line.bytes().take_while(|byte| *byte == b'#').count();
        if level > 0 && line[level..].starts_with(' ') {
            self.anchors.insert(anchor(&line[level + 1..]));
        }
        // Links inside backticks are ignored.
        let prose: String = line.split('`').step_by(2).collect::<Vec<_>>().join("`");
        let targets = prose.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        self.links.extend(targets.map(|target| (number, target.to_owned())));
    }
}

/// The anchor of a heading, as web interfaces for Markdown generate it.
fn anchor(heading: &str) -> String {
    let letters = heading.trim().chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    letters.collect::<String>().to_lowercase().replace(' ', "-")
}
