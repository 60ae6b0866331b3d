//! What a member was told, to be compared with what is stored.

use std::collections::BTreeMap;

use super::{Client, Member, Seats};

/// What a member asks of an occurrence.
#[derive(Clone, Copy, Debug)]
pub enum Ask {
    Register,
    Cancel,
    Join,
    Leave,
}

/// What a member knows of a seat.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Known {
    /// It has it, unless the occurrence was called off.
    Held,
    /// It does not have it.
    Free,
    /// It had it, and has it no longer without having asked for that.
    Lost,
    /// It waits for it, or nobody has told how the last question ended.
    Open,
}

/// A member that writes down what it was told.
pub struct Journal {
    member: Member,
    known: BTreeMap<String, Known>,
    /// How many changes were confirmed.
    pub confirmed: usize,
}

impl Journal {
    pub fn of(member: Member) -> Self {
        Self { member, known: BTreeMap::new(), confirmed: 0 }
    }

    /// One of the occurrences of which the question makes sense, as far as the member knows.
    pub fn fit_for(&self, ask: Ask, number: usize) -> Option<String> {
        let wanted = match ask {
            Ask::Cancel => Known::Held,
            Ask::Leave => Known::Open,
            Ask::Register | Ask::Join => return None,
        };
        let fit: Vec<&String> =
            self.known.iter().filter(|(_, known)| **known == wanted).map(|(id, _)| id).collect();
        (!fit.is_empty()).then(|| fit[number % fit.len()].clone())
    }

    /// Asks one of the servers, and writes down what it says.
    pub async fn ask(&mut self, server: &Client, ask: Ask, occurrence: &str) -> String {
        let client = self.member.at(server);
        let word = match ask {
            Ask::Register => client.registers(occurrence).await,
            Ask::Cancel => client.cancels(occurrence, &self.member.id).await,
            Ask::Join => client.joins(occurrence).await,
            Ask::Leave => client.leaves(occurrence).await,
        };
        self.note(ask, occurrence, &word);
        word
    }

    fn note(&mut self, ask: Ask, occurrence: &str, word: &str) {
        let before = self.known.get(occurrence).copied().unwrap_or(Known::Free);
        let now = match (ask, word) {
            (Ask::Register, "done") | (_, "ALREADY_REGISTERED") => Known::Held,
            (Ask::Cancel | Ask::Leave, "done") => Known::Free,
            (Ask::Cancel, "NOT_REGISTERED") if before == Known::Held => Known::Lost,
            // Whoever has asked without an answer does not know either when this one was asked.
            (Ask::Join, "done" | "ALREADY_WAITING")
            | (_, "busy" | "database_unavailable" | "silence") => Known::Open,
            _ => before,
        };
        self.confirmed += usize::from(word == "done");
        self.known.insert(occurrence.to_owned(), now);
    }

    /// What was confirmed is stored.
    pub fn assert_kept(&self, seats: &Seats) {
        for (occurrence, known) in &self.known {
            let held = seats.holds(occurrence, &self.member.id);
            let who = &self.member.id;
            match known {
                Known::Held => assert!(
                    held || !seats.takes_place(occurrence),
                    "{who} has lost a seat at {occurrence}"
                ),
                Known::Lost => {
                    assert!(!seats.takes_place(occurrence), "{who} was thrown out of {occurrence}");
                }
                Known::Free => assert!(!held, "{who} has given {occurrence} back, and holds it"),
                Known::Open => {}
            }
        }
    }
}
