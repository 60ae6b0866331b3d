//! Turns what `validator` finds wrong with the shape of an input into field names and sentences.

use std::borrow::Cow;

use validator::{Validate, ValidationError, ValidationErrors, ValidationErrorsKind};

use crate::error::FieldErrors;

/// The field name that `validator` uses for errors of a struct as a whole.
const WHOLE: &str = "__all__";

impl FieldErrors {
    /// Adds every error that `validator` finds in `input`, which is the value of the field `path`.
    pub(crate) fn check_shape(&mut self, path: &str, input: &impl Validate) {
        for (field, message) in input.validate().err().iter().flat_map(wrong_fields) {
            self.note(joined(path, &field), message);
        }
    }
}

/// An error with `sentence` unless the rule holds. For rules that `validator` has no attribute for.
pub(crate) fn rule(holds: bool, sentence: &'static str) -> Result<(), ValidationError> {
    if holds { Ok(()) } else { Err(ValidationError::new(sentence)) }
}

/// Every wrong field with a sentence, in no particular order. A nested field is named by its path,
/// the input as a whole by an empty name.
pub(crate) fn wrong_fields(errors: &ValidationErrors) -> Vec<(String, Cow<'static, str>)> {
    let mut found = Vec::new();
    for (name, kind) in errors.errors() {
        let name = if name == WHOLE { "" } else { name };
        match kind {
            ValidationErrorsKind::Field(errors) => {
                found.extend(errors.iter().map(|error| (name.to_owned(), sentence(error))));
            }
            ValidationErrorsKind::Struct(inner) => {
                let inner = wrong_fields(inner).into_iter();
                found.extend(inner.map(|(field, message)| (joined(name, &field), message)));
            }
            ValidationErrorsKind::List(items) => {
                let items = items.values().flat_map(|item| wrong_fields(item));
                found.extend(items.map(|(_, message)| (name.to_owned(), message)));
            }
        }
    }
    found
}

fn joined(outer: &str, inner: &str) -> String {
    let dot = if outer.is_empty() || inner.is_empty() { "" } else { "." };
    format!("{outer}{dot}{inner}")
}

/// The rule's own sentence, or one about its bounds. [`rule`] stores its sentence as the code.
fn sentence(error: &ValidationError) -> Cow<'static, str> {
    let bound = |name| error.params.get(name);
    match (&error.message, bound("min"), bound("max")) {
        (Some(message), ..) => message.clone(),
        (None, Some(min), Some(max)) => format!("must be {min} to {max}").into(),
        (None, Some(min), None) => format!("must be at least {min}").into(),
        (None, None, Some(max)) => format!("must be at most {max}").into(),
        (None, None, None) => error.code.clone(),
    }
}
