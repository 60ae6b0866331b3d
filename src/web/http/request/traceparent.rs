//! The caller's trace, from the headers `traceparent` and `tracestate` of W3C Trace Context.
//! Malformed headers are ignored.

use actix_web::http::header::{HeaderMap, HeaderName};
use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// The length of a `traceparent` of version 00; later versions may append fields.
const LENGTH: usize = 55;
/// A longer `tracestate` is ignored; the standard requires at least this length.
const STATE_MAX: usize = 512;

/// The caller's span, if the headers name one.
pub(super) fn caller(headers: &HeaderMap) -> Option<SpanContext> {
    let mut given = headers.get_all(&TRACEPARENT);
    let (Some(parent), None) = (given.next(), given.next()) else { return None };
    let (trace, span, flags) = parse(parent.to_str().ok()?)?;
    let caller = SpanContext::new(trace, span, flags, true, state(headers));
    caller.is_valid().then_some(caller)
}

fn parse(text: &str) -> Option<(TraceId, SpanId, TraceFlags)> {
    let (known, rest) = text.split_at_checked(LENGTH)?;
    let mut fields = known.split('-');
    let mut hex = |digits| {
        let is_hex = |field: &&str| {
            field.len() == digits && field.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        };
        fields.next().filter(is_hex)
    };
    let (version, trace, span, flags) = (hex(2)?, hex(32)?, hex(16)?, hex(2)?);
    let is_whole = rest.is_empty() || (version != "00" && rest.starts_with('-'));
    if version == "ff" || !is_whole {
        return None;
    }
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?);
    // Later versions may define more flags but keep the meaning of this one.
    let flags = flags & TraceFlags::SAMPLED;
    Some((TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?, flags))
}

fn state(headers: &HeaderMap) -> TraceState {
    let lists: Vec<&str> =
        headers.get_all(&TRACESTATE).filter_map(|list| list.to_str().ok()).collect();
    let all = lists.join(",");
    if all.is_empty() || all.len() > STATE_MAX {
        return TraceState::NONE;
    }
    all.parse().unwrap_or(TraceState::NONE)
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;
    use proptest::prelude::*;

    use super::*;
    use crate::domain::hostile::{almost, any_text};

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";

    fn of(parents: &[&str], states: &[&str]) -> Option<SpanContext> {
        let mut headers = HeaderMap::new();
        for (name, values) in [(&TRACEPARENT, parents), (&TRACESTATE, states)] {
            for value in values {
                let value = HeaderValue::from_bytes(value.as_bytes()).ok()?;
                headers.append(name.clone(), value);
            }
        }
        caller(&headers)
    }

    #[test]
    fn a_well_formed_header_names_the_caller() {
        for (text, sampled) in [
            (format!("00-{TRACE}-{SPAN}-01"), true),
            (format!("00-{TRACE}-{SPAN}-00"), false),
            (format!("00-{TRACE}-{SPAN}-fe"), false),
            (format!("00-{TRACE}-{SPAN}-ff"), true),
            (format!("01-{TRACE}-{SPAN}-01"), true),
            (format!("cc-{TRACE}-{SPAN}-01-what the future will bring"), true),
            (format!("cc-{TRACE}-{SPAN}-01-"), true),
        ] {
            let caller = of(&[&text], &[]).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(caller.trace_id().to_string(), TRACE, "{text}");
            assert_eq!(caller.span_id().to_string(), SPAN, "{text}");
            assert_eq!(caller.is_sampled(), sampled, "{text}");
            assert!(caller.is_remote());
        }
    }

    #[test]
    fn a_malformed_header_is_ignored() {
        let zeros = "0".repeat(32);
        for text in [
            String::new(),
            "00".into(),
            format!("00-{TRACE}-{SPAN}"),
            format!("00-{TRACE}-{SPAN}-"),
            format!("00-{TRACE}-{SPAN}-1"),
            format!("00-{TRACE}-{SPAN}-001"),
            format!("00-{TRACE}-{SPAN}-+1"),
            format!("00-{TRACE}-{SPAN}-0x"),
            format!("00-{TRACE}-{SPAN}-01-"),
            format!("00-{TRACE}-{SPAN}-01-00"),
            format!("00-{TRACE}-{SPAN}-01 "),
            format!("cc-{TRACE}-{SPAN}-01.00"),
            format!("0-{TRACE}-{SPAN}-010"),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("FE-{TRACE}-{SPAN}-01"),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            format!("00-{TRACE}-{}-01", SPAN.to_uppercase()),
            format!("00-{zeros}-{SPAN}-01"),
            format!("00-{TRACE}-{}-01", &zeros[..16]),
            format!("00-{TRACE}0-{}-01", &SPAN[1..]),
            format!("00_{TRACE}_{SPAN}_01"),
            format!("00-{TRACE}-{}é-01", &SPAN[2..]),
        ] {
            assert!(of(&[&text], &[]).is_none(), "{text}");
        }
        let good = format!("00-{TRACE}-{SPAN}-01");
        assert!(of(&[&good, &good], &[]).is_none(), "which of two?");
    }

    #[test]
    fn the_state_is_kept_if_it_is_well_formed_and_short() {
        let parent = format!("00-{TRACE}-{SPAN}-01");
        let state = |states: &[&str]| of(&[&parent], states).unwrap().trace_state().header();
        assert_eq!(state(&["a=1,b=2"]), "a=1,b=2");
        assert_eq!(state(&["a=1", "b=2"]), "a=1,b=2");
        assert_eq!(state(&["a"]), "");
        assert_eq!(state(&["A=1"]), "");
        let long = "a".repeat(STATE_MAX / 2);
        assert_eq!(state(&[&format!("a={long},b={long}")]), "");
    }

    proptest! {
        #[test]
        fn hostile_headers_are_ignored_or_name_the_trace_that_they_spell(
            parent in prop_oneof![any_text(), almost("0[0-9]-[0-9a-f]{32}-[0-9a-f]{16}-0[01]")],
            state in any_text(),
        ) {
            if let Some(caller) = of(&[&parent], &[&state]) {
                let spelled = format!("-{}-{}-", caller.trace_id(), caller.span_id());
                prop_assert_eq!(parent.get(2..53), Some(spelled.as_str()));
            }
        }
    }
}
