//! The variables of `.env`.

use super::Failure;
use crate::{
    config::{VARIABLES, misspelt},
    trust::{self, Closed},
};

/// Reads `.env` of the working directory and of no other: it can name the program that is run, so
/// one that somebody else has put there, or above, must not count. Warns of lines that set nothing.
pub(super) fn load() -> Result<Vec<String>, Failure> {
    let here = std::env::current_dir();
    let path =
        here.map_err(|e| format!("the working directory cannot be found: {e}"))?.join(".env");
    let Some(text) = trust::read(&path, Closed::Unwritable)? else { return Ok(Vec::new()) };
    let text = text.trim_start_matches('\u{feff}');
    let names = names(text).ok_or_else(|| broken(&path.display().to_string(), text))?;
    dotenvy::from_read(text.as_bytes())
        .map_err(|_| format!("{} cannot be read", path.display()))?;
    Ok(names.iter().filter_map(|name| misspelt::in_file(name)).collect())
}

/// The names of the variables that the text sets; `None` if a line of it is none.
fn names(text: &str) -> Option<Vec<String>> {
    let lines = dotenvy::from_read_iter(text.as_bytes());
    lines.map(|line| line.ok().map(|(name, _)| name)).collect()
}

/// Says which line is wrong. What stands in it may be a secret.
fn broken(path: &str, text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let good = (0..lines.len()).rev().find(|count| names(&lines[..*count].join("\n")).is_some());
    let good = good.unwrap_or_default();
    let line = lines.get(good).copied().unwrap_or_default();
    let name = line.split_once('=').map(|(name, _)| name.trim().trim_start_matches("export "));
    let known = name.filter(|name| VARIABLES.iter().any(|(known, _)| known == name));
    let known = known.map(|name| format!(" ({name})")).unwrap_or_default();
    format!(
        "{path}: line {}{known} is not NAME=value; put a value with spaces, quotes or # into single quotes",
        good + 1
    )
}
