//! Compares an answer with the printed one, ignoring values that differ in each run.

use std::collections::HashMap;

use chrono::DateTime;
use serde_json::Value;
use uuid::Uuid;

use super::page::Answer;

/// The values of `$RANDOM` and `$YEAR` in the printed answers.
const PRINTED: (&str, &str) = ("7351", "2027");

/// Compares the answers of one run. An id that is printed twice must be the same id each time.
pub(super) struct Comparison {
    names: [(String, &'static str); 2],
    number: String,
    year: String,
    ids: HashMap<String, String>,
}

impl Comparison {
    /// `names` are texts of this run with their printed forms.
    pub(super) fn new(names: [(String, &'static str); 2], number: u32, year: &str) -> Self {
        let year = if year.is_empty() { PRINTED.1 } else { year };
        Self { names, number: number.to_string(), year: year.to_owned(), ids: HashMap::new() }
    }

    pub(super) fn check(&mut self, printed: &Answer, actual: &str) -> Result<(), String> {
        let text = actual.replace('\r', "");
        let text = self.names.iter().fold(text, |text, (own, printed)| text.replace(own, printed));
        if !printed.json {
            return self.lines(&printed.text, &text);
        }
        let actual = Answer { line: 0, json: true, text };
        let not_json = |e| format!("is not JSON: {e}: {}", actual.text);
        let (printed, actual) = (
            printed.values().map_err(|e| format!("is not JSON: {e}"))?,
            actual.values().map_err(not_json)?,
        );
        if printed.len() != actual.len() {
            return Err(format!("{} answers, but the page shows {}", actual.len(), printed.len()));
        }
        let mut pairs = printed.iter().zip(&actual).zip(1..);
        pairs.try_for_each(|((printed, actual), n)| {
            self.value(&format!("answer {n}"), printed, actual)
        })
    }

    fn lines(&mut self, printed: &str, actual: &str) -> Result<(), String> {
        let (printed, actual): (Vec<_>, Vec<_>) =
            (printed.trim_end().lines().collect(), actual.trim_end().lines().collect());
        for ((printed, actual), number) in printed.iter().zip(&actual).zip(1..) {
            // The time at which the calendar was generated.
            let stamps = [printed, actual].iter().all(|line| line.starts_with("DTSTAMP:"));
            if !stamps && !self.text(printed, actual) {
                return Err(format!("line {number} is {actual:?}, but the page shows {printed:?}"));
            }
        }
        if printed.len() == actual.len() {
            return Ok(());
        }
        Err(format!("{} lines, but the page shows {}", actual.len(), printed.len()))
    }

    fn value(&mut self, at: &str, printed: &Value, actual: &Value) -> Result<(), String> {
        match (printed, actual) {
            (Value::Object(p), Value::Object(a)) => {
                let keys = (p.keys().collect::<Vec<_>>(), a.keys().collect::<Vec<_>>());
                if keys.0 != keys.1 {
                    return Err(format!(
                        "{at} has the keys {:?}, but the page shows {:?}",
                        keys.1, keys.0
                    ));
                }
                p.iter()
                    .zip(a.values())
                    .try_for_each(|((key, p), a)| self.value(&format!("{at}.{key}"), p, a))
            }
            (Value::Array(p), Value::Array(a)) if p.len() == a.len() => {
                let mut items = p.iter().zip(a).zip(0..);
                items.try_for_each(|((p, a), n)| self.value(&format!("{at}[{n}]"), p, a))
            }
            (Value::String(p), Value::String(a)) if self.text(p, a) => Ok(()),
            _ if printed == actual => Ok(()),
            _ => Err(format!("{at} is {actual}, but the page shows {printed}")),
        }
    }

    fn text(&mut self, printed: &str, actual: &str) -> bool {
        if is_time_of_a_run(printed) {
            // The fraction is missing at a full second.
            return DateTime::parse_from_rfc3339(actual).is_ok();
        }
        if printed.starts_with("eyJ") {
            return actual.starts_with("eyJ");
        }
        let ((printed, printed_ids), (actual, ids)) = (masked(printed), masked(actual));
        let actual = actual.replace(&self.number, PRINTED.0).replace(&self.year, PRINTED.1);
        let mut pairs = printed_ids.into_iter().zip(ids);
        printed == actual
            && pairs.all(|(printed, id)| *self.ids.entry(printed).or_insert(id.clone()) == id)
    }
}

/// Schedule dates are full seconds; dates set by the server have milliseconds.
fn is_time_of_a_run(text: &str) -> bool {
    text.contains('.') && DateTime::parse_from_rfc3339(text).is_ok()
}

/// The text with masked ids, request ids and secrets, and its ids.
fn masked(text: &str) -> (String, Vec<String>) {
    let mut ids = Vec::new();
    let is_letter = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let words = text.split_inclusive(|c| !is_letter(c)).map(|word| {
        let letters = word.trim_end_matches(|c| !is_letter(c));
        let is_id = letters.len() == 24 && letters.bytes().all(|byte| byte.is_ascii_hexdigit());
        let mask = match letters {
            _ if is_id => "<id>",
            _ if Uuid::parse_str(letters).is_ok() => "<request>",
            _ if letters.len() >= 40 => "<secret>",
            _ => return word.to_owned(),
        };
        if is_id {
            ids.push(letters.to_owned());
        }
        format!("{mask}{}", &word[letters.len()..])
    });
    let masked = words.collect();
    (masked, ids)
}
