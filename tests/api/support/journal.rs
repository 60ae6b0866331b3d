//! Records the answers that a member got, to compare them with the stored data.

use std::collections::BTreeMap;

use super::{Client, Member, Seats};

/// A request of a member about an occurrence.
#[derive(Clone, Copy, Debug)]
pub enum Action {
    Register,
    Cancel,
    Join,
    Leave,
}

/// What the answers say about the member's seat.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Known {
    /// The member has it, unless the occurrence was cancelled.
    Held,
    /// The member does not have it.
    Free,
    /// The member had it and lost it without cancelling.
    Lost,
    /// The member is waiting for it, or the last request got no clear answer.
    Open,
}

/// A member with the answers that it got.
pub struct Journal {
    member: Member,
    known: BTreeMap<String, Known>,
    /// Number of confirmed changes.
    pub confirmed: usize,
}

impl Journal {
    pub fn of(member: Member) -> Self {
        Self { member, known: BTreeMap::new(), confirmed: 0 }
    }

    /// One of the occurrences at which a cancel or leave may succeed.
    pub fn fit_for(&self, action: Action, number: usize) -> Option<String> {
        let wanted = match action {
            Action::Cancel => Known::Held,
            Action::Leave => Known::Open,
            Action::Register | Action::Join => return None,
        };
        let fit: Vec<&String> =
            self.known.iter().filter(|(_, known)| **known == wanted).map(|(id, _)| id).collect();
        (!fit.is_empty()).then(|| fit[number % fit.len()].clone())
    }

    /// Sends the request to the server and records the answer.
    pub async fn send(&mut self, server: &Client, action: Action, occurrence: &str) -> String {
        let client = self.member.at(server);
        let word = match action {
            Action::Register => client.register_outcome(occurrence).await,
            Action::Cancel => client.cancel_outcome(occurrence, &self.member.id).await,
            Action::Join => client.join_outcome(occurrence).await,
            Action::Leave => client.leave_outcome(occurrence).await,
        };
        self.note(action, occurrence, &word);
        word
    }

    fn note(&mut self, action: Action, occurrence: &str, word: &str) {
        let before = self.known.get(occurrence).copied().unwrap_or(Known::Free);
        let now = match (action, word) {
            (Action::Register, "done") | (_, "ALREADY_REGISTERED") => Known::Held,
            (Action::Cancel | Action::Leave, "done") => Known::Free,
            (Action::Cancel, "NOT_REGISTERED") if before == Known::Held => Known::Lost,
            // After these answers the request may or may not have taken effect.
            (Action::Join, "done" | "ALREADY_WAITING")
            | (_, "busy" | "database_unavailable" | "silence") => Known::Open,
            _ => before,
        };
        self.confirmed += usize::from(word == "done");
        self.known.insert(occurrence.to_owned(), now);
    }

    /// Asserts that everything confirmed is stored.
    pub fn assert_kept(&self, seats: &Seats) {
        for (occurrence, known) in &self.known {
            let held = seats.holds(occurrence, &self.member.id);
            let who = &self.member.id;
            match known {
                Known::Held => assert!(
                    held || !seats.takes_place(occurrence),
                    "{who} lost a seat at {occurrence}"
                ),
                Known::Lost => {
                    assert!(
                        !seats.takes_place(occurrence),
                        "{who} lost a seat at {occurrence}, which was not cancelled"
                    );
                }
                Known::Free => {
                    assert!(!held, "{who} cancelled at {occurrence} and still holds a seat");
                }
                Known::Open => {}
            }
        }
    }
}
