//! The values of options: words, masks, `NAME=VALUE`.

use std::{collections::BTreeSet, str::FromStr};

use clap::builder::{PossibleValuesParser, TypedValueParser};
use libdispatch::{GlobalValue, Verdict, VerdictMask};

/// A parser for one of a vocabulary's words, which its errors list.
pub(crate) fn words<T>(
    all: &'static [T],
    name: fn(T) -> &'static str,
) -> impl TypedValueParser<Value = T>
where
    T: Copy + Send + Sync,
{
    PossibleValuesParser::new(all.iter().map(|word| name(*word))).map(move |word| {
        let found = all.iter().copied().find(|known| name(*known) == word);
        found.expect("only words of this vocabulary get here")
    })
}

/// A parser for a switch.
pub(crate) fn on_or_off() -> impl TypedValueParser<Value = bool> {
    PossibleValuesParser::new(["on", "off"]).map(|word| word == "on")
}

/// A set of verdicts.
pub(crate) fn verdicts(text: &str) -> Result<VerdictMask, String> {
    text.parse().map_err(|_| {
        let words = Verdict::ALL.map(Verdict::name).join(", ");
        format!("accepted are {words}, separated by commas, or all, or none")
    })
}

/// One or more interfaces, each once.
#[derive(Clone, Debug)]
pub(crate) struct Interfaces(pub(crate) Vec<String>);

impl FromStr for Interfaces {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut seen = BTreeSet::new();
        for interface in text.split(',') {
            if interface.is_empty() {
                return Err("an interface's name is empty".to_owned());
            }
            if !seen.insert(interface) {
                return Err(format!("{interface} is given twice"));
            }
        }
        Ok(Self(text.split(',').map(str::to_owned).collect()))
    }
}

/// `MAP=ENTRIES`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MapSize {
    pub(crate) map: String,
    pub(crate) entries: u32,
}

impl FromStr for MapSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (map, entries) = assignment(text)?;
        let entries = entries
            .parse()
            .map_err(|error| format!("{entries} is no number of entries: {error}"))?;
        Ok(Self { map, entries })
    }
}

/// `NAME=VALUE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Global {
    pub(crate) name: String,
    pub(crate) value: GlobalValue,
}

impl FromStr for Global {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = assignment(text)?;
        let parsed = match value.strip_prefix("hex:") {
            Some(digits) => bytes(digits).map(GlobalValue::Bytes),
            None => integer(value).map(GlobalValue::Integer),
        };
        let value = parsed.ok_or_else(|| {
            format!("{value} is neither an integer (42, -1, 0x2a) nor bytes (hex:0a0b)")
        })?;
        Ok(Self { name, value })
    }
}

/// `MAP:INDEX=FUNCTION`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TailCall {
    pub(crate) map: String,
    pub(crate) index: u32,
    pub(crate) function: String,
}

impl FromStr for TailCall {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (entry, function) = assignment(text)?;
        let parsed = entry
            .split_once(':')
            .and_then(|(map, index)| Some((map.to_owned(), index.parse().ok()?)));
        match parsed {
            Some((map, index)) if !map.is_empty() && !function.is_empty() => Ok(Self {
                map,
                index,
                function: function.to_owned(),
            }),
            _ => Err("MAP:INDEX=FUNCTION is expected".to_owned()),
        }
    }
}

fn assignment(text: &str) -> Result<(String, &str), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value)),
        _ => Err("NAME=VALUE is expected".to_owned()),
    }
}

fn integer(text: &str) -> Option<i128> {
    let (digits, sign) = match text.strip_prefix('-') {
        Some(digits) => (digits, -1),
        None => (text, 1),
    };
    let (digits, radix) = match digits.strip_prefix("0x") {
        Some(digits) => (digits, 16),
        None => (digits, 10),
    };
    // Rust would take a second sign.
    if !digits.chars().all(|digit| digit.is_digit(radix)) {
        return None;
    }
    let magnitude = i128::from_str_radix(digits, radix).ok()?;
    Some(sign * magnitude)
}

fn bytes(digits: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<_>> = digits.chars().map(|digit| digit.to_digit(16)).collect();
    let digits = digits.filter(|digits| digits.len().is_multiple_of(2) && !digits.is_empty())?;
    let pairs = digits.chunks_exact(2);
    pairs
        .map(|pair| u8::try_from(pair[0] << 4 | pair[1]).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globals_are_integers_or_bytes() {
        for (text, value) in [
            ("limit=42", GlobalValue::Integer(42)),
            ("limit=-1", GlobalValue::Integer(-1)),
            ("limit=0xff", GlobalValue::Integer(255)),
            ("limit=-0x10", GlobalValue::Integer(-16)),
            (
                "limit=18446744073709551615",
                GlobalValue::Integer(u64::MAX.into()),
            ),
            ("limit=hex:0a0B", GlobalValue::Bytes(vec![10, 11])),
        ] {
            let name = "limit".to_owned();
            assert_eq!(text.parse(), Ok(Global { name, value }), "{text}");
        }
        for text in [
            "limit",
            "=1",
            "limit=",
            "limit=x",
            "limit=+1",
            "limit=--1",
            "limit=0x",
            "limit=0x+1",
            "limit=0x-1",
            "limit=hex:",
            "limit=hex:0",
            "limit=hex:0g",
        ] {
            text.parse::<Global>().unwrap_err();
        }
    }

    #[test]
    fn a_tail_call_names_map_index_and_function() {
        let tail_call = TailCall {
            map: "NEXT".to_owned(),
            index: 3,
            function: "parse_v6".to_owned(),
        };
        assert_eq!("NEXT:3=parse_v6".parse(), Ok(tail_call));
        for text in [
            "NEXT=parse_v6",
            "NEXT:=f",
            "NEXT:x=f",
            ":3=f",
            "NEXT:3=",
            "NEXT:3",
        ] {
            text.parse::<TailCall>().unwrap_err();
        }
    }

    #[test]
    fn interfaces_are_given_once() {
        assert_eq!(
            "eth0,eth1".parse::<Interfaces>().unwrap().0,
            ["eth0", "eth1"]
        );
        for text in ["", "eth0,", "eth0,eth1,eth0"] {
            text.parse::<Interfaces>().unwrap_err();
        }
    }

    #[test]
    fn an_unknown_verdict_is_told_the_known_ones() {
        let error = verdicts("pass,reject").unwrap_err();
        assert!(error.contains("aborted, drop, pass"), "{error}");
    }
}
