//! Reads a JSON object or a query field by field, so that one answer names every field that is
//! missing, unknown or of the wrong type, and the other fields are still checked.

use std::{borrow::Cow, fmt, mem};

use serde::{
    Deserializer,
    de::{DeserializeOwned, MapAccess, Visitor, value::MapDeserializer},
    forward_to_deserialize_any,
};
use serde_json::value::{RawValue, to_raw_value};

use crate::{domain::quote, error::FieldErrors};

/// Reads a JSON object. Returns `None` if so little can be read that nothing else can be checked.
pub(super) fn from_json<T: DeserializeOwned>(body: &[u8], errors: &mut FieldErrors) -> Option<T> {
    // serde would also read an array into a struct.
    if body.trim_ascii_start().first() != Some(&b'{') {
        errors.push("", "the body must be a JSON object");
        return None;
    }
    read(Source::Json(body), errors)
}

/// Reads the parameters of a query, as [`from_json`] reads an object.
pub(super) fn from_query<T: DeserializeOwned>(query: &str, errors: &mut FieldErrors) -> Option<T> {
    read(Source::Query(query), errors)
}

/// Deserializes until every field has a value that fits. Each failed attempt names one field, which
/// gets its next value.
fn read<T: DeserializeOwned>(source: Source<'_>, errors: &mut FieldErrors) -> Option<T> {
    let mut fields = None;
    loop {
        let input = Input { source, fields: &mut fields, errors };
        let error = match serde_path_to_error::deserialize(input) {
            Ok(value) => return Some(value),
            Err(error) => error,
        };
        let path = error.path().to_string();
        let reason = error.into_inner().to_string();
        let missing = reason.strip_prefix("missing field `").and_then(|rest| rest.split_once('`'));
        let fields = fields.as_mut()?;
        if let Some((name, _)) = missing {
            errors.note(name, "is required");
            fields.push(Field::new(name.to_owned(), [])?);
        } else {
            let field = fields.iter_mut().find(|field| field.name == path)?;
            if field.others.len() == PLACEHOLDERS.len() {
                errors.note(path, sentence(&reason));
            }
            field.value = field.others.pop()?;
        }
    }
}

#[derive(Clone, Copy)]
enum Source<'de> {
    Json(&'de [u8]),
    Query(&'de str),
}

/// Replacements for a missing or wrong value. A field of any type accepts one of them.
const PLACEHOLDERS: [&str; 3] = ["false", "0", "\"\""];

/// A field with its current value and the values to try after it, the next one last.
struct Field<'de> {
    name: String,
    value: Cow<'de, RawValue>,
    others: Vec<Cow<'de, RawValue>>,
}

impl<'de> Field<'de> {
    /// A field with values to try before the placeholders, the first one last.
    fn new(name: String, sent: impl IntoIterator<Item = Cow<'de, RawValue>>) -> Option<Self> {
        let placeholder = |text: &str| RawValue::from_string(text.to_owned()).ok().map(Cow::Owned);
        let mut others: Vec<_> = PLACEHOLDERS.into_iter().filter_map(placeholder).collect();
        others.extend(sent);
        Some(Self { name, value: others.pop()?, others })
    }

    /// A parameter of a query, to try as a string, then as a number or a boolean.
    fn of_parameter(name: String, text: &str) -> Option<Self> {
        let scalar = match text.parse::<i64>() {
            Ok(number) => to_raw_value(&number).ok(),
            Err(_) => text.parse::<bool>().ok().and_then(|flag| to_raw_value(&flag).ok()),
        };
        let sent = scalar.into_iter().chain(to_raw_value(text).ok());
        Self::new(name, sent.map(Cow::Owned))
    }
}

/// Deserializes the struct from its fields.
struct Input<'de, 'sent> {
    source: Source<'sent>,
    fields: &'de mut Option<Vec<Field<'sent>>>,
    errors: &'de mut FieldErrors,
}

impl<'de> Deserializer<'de> for Input<'de, '_> {
    type Error = serde_json::Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, serde_json::Error> {
        let fields = match self.fields {
            Some(fields) => fields,
            None => self.fields.insert(self.source.collect(known, self.errors)?),
        };
        let fields = fields.iter().map(|field| (field.name.as_str(), &*field.value));
        visitor.visit_map(MapDeserializer::new(fields))
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, serde_json::Error> {
        self.deserialize_struct("", &[], visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

impl<'de> Source<'de> {
    /// The known fields. Any other field is an error.
    fn collect(
        self,
        known: &'static [&str],
        errors: &mut FieldErrors,
    ) -> Result<Vec<Field<'de>>, serde_json::Error> {
        let mut collector = Collector { known, fields: Vec::new(), reading: String::new(), errors };
        match self {
            Self::Query(query) => {
                for (name, value) in form_urlencoded::parse(query.as_bytes()) {
                    collector.add(name.into_owned(), |name| Field::of_parameter(name, &value));
                }
            }
            Self::Json(body) => {
                let mut json = serde_json::Deserializer::from_slice(body);
                let read = json.deserialize_map(&mut collector).and_then(|()| json.end());
                if let Err(error) = read {
                    collector.errors.push(&collector.reading, quote(&error.to_string()));
                    return Err(error);
                }
            }
        }
        Ok(collector.fields)
    }
}

struct Collector<'a, 'de> {
    known: &'static [&'static str],
    fields: Vec<Field<'de>>,
    /// The field whose value is being read.
    reading: String,
    errors: &'a mut FieldErrors,
}

impl<'de> Collector<'_, 'de> {
    /// Adds a field, if it is known and new.
    fn add(&mut self, name: String, field: impl FnOnce(String) -> Option<Field<'de>>) {
        if !self.known.contains(&name.as_str()) {
            self.errors.push(name, "is not a field of this request");
        } else if self.fields.iter().any(|field| field.name == name) {
            self.errors.note(name, "must be given once");
        } else {
            self.fields.extend(field(name));
        }
    }
}

impl<'de> Visitor<'de> for &mut Collector<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        while let Some(name) = map.next_key()? {
            self.reading = name;
            let value = map.next_value()?;
            let name = mem::take(&mut self.reading);
            self.add(name, |name| Field::new(name, [Cow::Borrowed(value)]));
        }
        Ok(())
    }
}

/// What a field must be. The library's message ends with that, after the wrong value, which can be
/// long.
fn sentence(reason: &str) -> String {
    let reason = reason.rsplit_once(" at line ").map_or(reason, |(reason, _)| reason);
    match reason.rsplit_once(", expected ") {
        Some((_, "a boolean")) => "must be true or false".to_owned(),
        Some((_, "i64" | "u64")) => "must be a whole number".to_owned(),
        Some((_, "u32")) => format!("must be a whole number from 0 to {}", u32::MAX),
        Some((_, wanted)) => format!("must be {}", quote(wanted)),
        None => quote(reason).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;
    use serde_with::rust::double_option;

    use super::*;
    use crate::{
        domain::hostile::{almost, any_text},
        error::Error,
    };

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Sent {
        email: String,
        count: i64,
        #[serde(default)]
        sure: bool,
        name: Option<String>,
        #[serde(default, with = "double_option")]
        #[expect(clippy::option_option, reason = "absent, null, or a value")]
        manager: Option<Option<i64>>,
    }

    fn reported(errors: FieldErrors) -> Vec<(String, String)> {
        let Error::Validation(errors) = errors.into_error() else { panic!("no refusal") };
        errors.iter().map(|e| (e.field().to_owned(), e.message().to_owned())).collect()
    }

    fn json(body: &str) -> (Option<Sent>, Vec<(String, String)>) {
        let mut errors = FieldErrors::default();
        (from_json(body.as_bytes(), &mut errors), reported(errors))
    }

    fn query(query: &str) -> (Option<Sent>, Vec<(String, String)>) {
        let mut errors = FieldErrors::default();
        (from_query(query, &mut errors), reported(errors))
    }

    fn named(reported: &[(String, String)]) -> Vec<&str> {
        reported.iter().map(|(field, _)| field.as_str()).collect()
    }

    #[test]
    fn valid_inputs_are_read() {
        let sent = |name: Option<&str>, manager| Sent {
            email: "a\"b".to_owned(),
            count: -1,
            sure: true,
            name: name.map(str::to_owned),
            manager,
        };
        let body =
            r#" {"em\u0061il": "a\"b", "count": -1, "sure": true, "name": "N", "manager": 7} "#;
        assert_eq!(json(body), (Some(sent(Some("N"), Some(Some(7)))), vec![]));
        let body = r#"{"email": "a\"b", "count": -1, "sure": true, "name": null, "manager": null}"#;
        assert_eq!(json(body), (Some(sent(None, Some(None))), vec![]));
        let text = "email=a%22b&count=-1&sure=true&name=N&manager=7";
        assert_eq!(query(text), (Some(sent(Some("N"), Some(Some(7)))), vec![]));
        assert_eq!(query("email=a%22b&count=-1&sure=true"), (Some(sent(None, None)), vec![]));
    }

    #[test]
    fn every_wrong_field_is_named_and_the_others_are_read() {
        let (sent, reported) =
            json(r#"{"sure": 1, "name": [], "manager": "x", "extra": {}, "more": 1}"#);
        assert_eq!(
            reported,
            [
                ("extra", "is not a field of this request"),
                ("more", "is not a field of this request"),
                ("count", "is required"),
                ("email", "is required"),
                ("manager", "must be a whole number"),
                ("name", "must be a string"),
                ("sure", "must be true or false"),
            ]
            .map(|(field, message)| (field.to_owned(), message.to_owned()))
        );
        // A wrong value counts as given.
        assert_eq!(sent.unwrap().manager, Some(Some(0)));
        let (sent, reported) = json(r#"{"email": null, "count": 1.5, "name": "N"}"#);
        assert_eq!(named(&reported), ["count", "email"]);
        assert_eq!(sent.unwrap().name.as_deref(), Some("N"));
        let (sent, reported) = query("email=a&email=b&count=x&sure=yes&manager=1&extra=");
        assert_eq!(named(&reported), ["extra", "count", "email", "sure"]);
        assert_eq!(sent.unwrap().manager, Some(Some(1)));
    }

    #[test]
    fn refusals_name_the_field() {
        let good = r#""email": "a", "count": 1"#;
        for (body, field) in [
            (format!(r#"{{{good}, "x": 1}}"#), "x"),
            (format!(r#"{{{good}, "email": "b"}}"#), "email"),
            (format!("{{{good}}} trailing"), ""),
            (r#"{"count": 1, "email": {"$ne": null}}"#.to_owned(), "email"),
            (r#"{"count": 1, "email": "\ud800"}"#.to_owned(), "email"),
            ("{".to_owned(), ""),
            ("not json".to_owned(), ""),
            (r#"["a", 1]"#.to_owned(), ""),
            ("[".repeat(100_000), ""),
            (r#"{"email":"#.repeat(100_000), "email"),
        ] {
            assert_eq!(named(&json(&body).1), [field], "{body:.60}");
        }
    }

    #[test]
    fn refusals_repeat_little_of_the_request() {
        let long = "x".repeat(500_000);
        for body in [
            format!(r#"{{"email": "a", "count": "{long}"}}"#),
            format!(r#"{{"email": "a", "count": {}}}"#, "1".repeat(300)),
            format!(r#"{{"email": "a", "count": 1, "{long}": 1}}"#),
        ] {
            let reported = json(&body).1;
            assert!(reported[0].0.len() + reported[0].1.len() < 200, "{reported:?}");
        }
        let many = r#""x": 1, "#.repeat(50_000);
        let reported = json(&format!(r#"{{{many}"email": "a", "count": 1}}"#)).1;
        assert_eq!(reported.len(), FieldErrors::MOST + 1);
    }

    proptest! {
        #[test]
        fn hostile_objects_are_refused_or_read_as_the_library_reads_them(
            raw in prop_oneof![any_text(), almost(
                "[{]\"email\":(\"a\"|null|[0-9]),\"count\":[0-9]{1,20}(,\"(sure|name|manager)\":(true|null|\"x\"|[0-9])){0,3}[}]"
            )],
        ) {
            let (sent, reported) = json(&raw);
            let plain = serde_json::from_str::<Sent>(&raw).ok().filter(|_| raw.trim().starts_with('{'));
            prop_assert_eq!(sent.filter(|_| reported.is_empty()), plain);
        }

        #[test]
        fn hostile_queries_are_refused_or_read(
            raw in prop_oneof![any_text(), almost("email=[a-z0-9]{1,9}&count=[0-9]{1,20}(&sure=(true|1))?(&name=[a-z]{1,3})?")],
        ) {
            let (sent, reported) = query(&raw);
            prop_assert!(sent.is_some(), "{:?}", reported);
            if let Some(sent) = sent.filter(|_| reported.is_empty()) {
                let parameter = |name| form_urlencoded::parse(raw.as_bytes()).find(|(n, _)| n == name);
                let (_, email) = parameter("email").unwrap();
                prop_assert_eq!(email, sent.email);
                let (_, count) = parameter("count").unwrap();
                prop_assert_eq!(count.parse::<i64>(), Ok(sent.count));
            }
        }
    }
}
