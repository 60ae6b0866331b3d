//! One document of a batch, and whether it must be written.

/// A document, stored or not, with its pending change.
#[derive(Clone, Debug)]
pub struct Entry<T> {
    stored: bool,
    value: Option<T>,
    changed: bool,
}

impl<T> Entry<T> {
    /// A stored document.
    #[must_use]
    pub const fn stored(value: T) -> Self {
        Self { stored: true, value: Some(value), changed: false }
    }

    /// A document that exists implicitly: an occurrence that is not stored yet.
    #[must_use]
    pub const fn implied(value: T) -> Self {
        Self { stored: false, value: Some(value), changed: false }
    }

    /// A document that does not exist.
    #[must_use]
    pub const fn missing() -> Self {
        Self { stored: false, value: None, changed: false }
    }

    /// The current value.
    #[must_use]
    pub const fn get(&self) -> Option<&T> {
        self.value.as_ref()
    }

    /// Sets the value and marks it as changed.
    pub fn set(&mut self, value: T) {
        self.value = Some(value);
        self.changed = true;
    }

    /// The value to write, and whether it is an insert; `None` if nothing changed.
    #[must_use]
    pub fn change(&self) -> Option<(&T, bool)> {
        self.value.as_ref().filter(|_| self.changed).map(|value| (value, !self.stored))
    }
}
