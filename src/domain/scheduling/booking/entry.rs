//! One document of a batch, and whether it has to be written.

/// Something that is stored, or not yet, and what is to become of it.
#[derive(Clone, Debug)]
pub struct Entry<T> {
    stored: bool,
    value: Option<T>,
    changed: bool,
}

impl<T> Entry<T> {
    /// What is stored.
    #[must_use]
    pub const fn stored(value: T) -> Self {
        Self { stored: true, value: Some(value), changed: false }
    }

    /// What is not stored, but is understood: an occurrence that nobody has touched yet.
    #[must_use]
    pub const fn implied(value: T) -> Self {
        Self { stored: false, value: Some(value), changed: false }
    }

    /// What does not exist.
    #[must_use]
    pub const fn missing() -> Self {
        Self { stored: false, value: None, changed: false }
    }

    /// What it is now.
    #[must_use]
    pub const fn get(&self) -> Option<&T> {
        self.value.as_ref()
    }

    /// Makes it something else.
    pub fn set(&mut self, value: T) {
        self.value = Some(value);
        self.changed = true;
    }

    /// What has to be written, and whether it is to be inserted.
    #[must_use]
    pub fn change(&self) -> Option<(&T, bool)> {
        self.value.as_ref().filter(|_| self.changed).map(|value| (value, !self.stored))
    }
}
