//! The rules file's grammar: see docs/firewall.md.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use firewall_abi::{Action, Service};

use crate::rules::{PROTOCOLS, Policy, Prefix, Subject, TCP, UDP};

/// IPv6 headers that others follow: rules are about what is behind them.
const EXTENSIONS: [u8; 4] = [0, 43, 44, 60];

/// What may follow an action.
const SUBJECT: &str = "a prefix, `any` or a protocol";
/// What may follow a source.
const PROTOCOL: &str = "`tcp`, `udp`, `icmp`, `icmpv6` or `protocol`";

/// Something in the file that is no rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// What is wrong there.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            line,
            column,
            message,
        } = self;
        write!(f, "{line}:{column}: {message}")
    }
}

/// What one line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Statement {
    Rule(Subject, Action),
    Default(Action),
}

/// What the file says, or everything that is wrong with it.
pub fn parse(text: &str) -> Result<Policy, Vec<Fault>> {
    let mut file = File::default();
    let statements = lines(text, statement, |word, line| file.add(word, line));
    statements.map(|()| file.policy())
}

/// The statements of a text, each of which may say the opposite of another.
pub(crate) fn statements(text: &str) -> Result<Vec<Statement>, Vec<Fault>> {
    let mut statements = Vec::new();
    lines(text, statement, |_, statement| {
        statements.push(statement);
        Ok(())
    })?;
    Ok(statements)
}

/// A rule that is named, with its action or without.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Named {
    pub(crate) subject: Subject,
    pub(crate) action: Option<Action>,
    /// From 1.
    pub(crate) line: usize,
}

/// The rules that a text names.
pub(crate) fn names(text: &str) -> Result<Vec<Named>, Vec<Fault>> {
    let mut names = Vec::new();
    lines(text, named, |_, named| {
        names.push(named);
        Ok(())
    })?;
    Ok(names)
}

/// Reads each line that has words, and collects what is wrong with them.
fn lines<T>(
    text: &str,
    read: impl Fn(&Word<'_>, &mut Words<'_>) -> Result<T, Fault>,
    mut take: impl FnMut(&Word<'_>, T) -> Result<(), Fault>,
) -> Result<(), Vec<Fault>> {
    let mut faults = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let mut words = Words::of(index + 1, line);
        if let Some(first) = words.next() {
            let taken = read(&first, &mut words).and_then(|read| take(&first, read));
            faults.extend(taken.err());
        }
    }
    if faults.is_empty() {
        Ok(())
    } else {
        Err(faults)
    }
}

/// `default ACTION`, or `ACTION SUBJECT`.
fn statement(first: &Word<'_>, words: &mut Words<'_>) -> Result<Statement, Fault> {
    if first.text == "default" {
        let action = words.next().and_then(|word| action(word.text));
        let action = action.ok_or_else(|| words.expected("`allow` or `deny`"))?;
        words.end()?;
        return Ok(Statement::Default(action));
    }
    let action =
        action(first.text).ok_or_else(|| words.expected("`allow`, `deny` or `default`"))?;
    let word = words.next().ok_or_else(|| words.expected(SUBJECT))?;
    Ok(Statement::Rule(subject(&word, words)?, action))
}

/// `[ACTION] SUBJECT`.
fn named(first: &Word<'_>, words: &mut Words<'_>) -> Result<Named, Fault> {
    let action = action(first.text);
    let word = match action {
        Some(_) => words.next().ok_or_else(|| words.expected(SUBJECT))?,
        None => *first,
    };
    Ok(Named {
        subject: subject(&word, words)?,
        action,
        line: first.line,
    })
}

/// What was read so far, and in which lines.
#[derive(Default)]
struct File {
    rules: BTreeMap<Subject, (Action, usize)>,
    default: Option<(Action, usize)>,
}

impl File {
    fn add(&mut self, word: &Word<'_>, statement: Statement) -> Result<(), Fault> {
        match statement {
            Statement::Rule(subject, action) => self.add_rule(word, subject, action),
            Statement::Default(action) => self.set_default(word, action),
        }
    }

    fn set_default(&mut self, word: &Word<'_>, action: Action) -> Result<(), Fault> {
        if let Some((_, line)) = self.default {
            return Err(word.fault(format!("line {line} says what the default is")));
        }
        self.default = Some((action, word.line));
        Ok(())
    }

    /// The same rule twice is no harm. A rule for any source is one for 0.0.0.0/0 as well.
    fn add_rule(&mut self, word: &Word<'_>, subject: Subject, action: Action) -> Result<(), Fault> {
        let mut covered = false;
        for other in subject.likes().chain([subject]) {
            match self.rules.get(&other) {
                Some((said, line)) if *said != action => {
                    return Err(word.fault(format!("line {line} says the opposite")));
                }
                Some(_) if subject.source.is_none() && other != subject => {
                    self.rules.remove(&other);
                }
                Some(_) => covered = true,
                None => {}
            }
        }
        if !covered {
            self.rules.insert(subject, (action, word.line));
        }
        Ok(())
    }

    fn policy(self) -> Policy {
        let rules = self.rules.into_iter();
        Policy {
            rules: rules
                .map(|(subject, (action, _))| (subject, action))
                .collect(),
            default: self.default.map_or(Action::Allow, |(action, _)| action),
        }
    }
}

fn action(word: &str) -> Option<Action> {
    match word {
        "allow" => Some(Action::Allow),
        "deny" => Some(Action::Deny),
        _ => None,
    }
}

/// `[any | PREFIX] [PROTOCOL [port NUMBER]]`, and at least one of the two.
fn subject(first: &Word<'_>, words: &mut Words<'_>) -> Result<Subject, Fault> {
    let source = if first.text == "any" {
        None
    } else if first.text.starts_with(|it: char| it.is_ascii_digit()) || first.text.contains(':') {
        Some(prefix(first)?)
    } else {
        let service = service(words, first, SUBJECT)?;
        return Ok(Subject {
            source: None,
            service,
        });
    };
    let service = match words.next() {
        Some(word) => service(words, &word, PROTOCOL)?,
        None => Service::Everything,
    };
    Ok(Subject { source, service })
}

fn prefix(word: &Word<'_>) -> Result<Prefix, Fault> {
    let (address, length) = match word.text.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (word.text, None),
    };
    let parsed: IpAddr = address.parse().map_err(|_| {
        word.fault(format!(
            "expected an IPv4 or IPv6 address, found `{address}`"
        ))
    })?;
    let bits = if parsed.is_ipv4() { 32 } else { 128 };
    let length = match length {
        None => bits,
        Some(length) => number(length).filter(|it| *it <= bits).ok_or_else(|| {
            let slash = word.after(address);
            slash.fault(format!(
                "expected a prefix length from 0 to {bits}, found `{length}`"
            ))
        })?,
    };
    let prefix = Prefix::around(parsed, length);
    if !prefix.begins_at(parsed) {
        return Err(word.fault(format!(
            "the address has bits behind the prefix: `{prefix}` is the prefix, `{parsed}` the address"
        )));
    }
    Ok(prefix)
}

fn service(words: &mut Words<'_>, first: &Word<'_>, expected: &str) -> Result<Service, Fault> {
    let named = PROTOCOLS.iter().find(|(name, _)| *name == first.text);
    let protocol = match named {
        Some((_, protocol)) => *protocol,
        None if first.text == "protocol" => words
            .next()
            .and_then(|word| number(word.text))
            .ok_or_else(|| words.expected("a protocol number from 0 to 255"))?,
        None => return Err(words.expected(expected)),
    };
    if EXTENSIONS.contains(&protocol) {
        let problem = "is an IPv6 extension header: rules are about what follows those";
        return Err(words.last.fault(format!("protocol {protocol} {problem}")));
    }
    let Some(word) = words.next() else {
        return Ok(Service::Protocol(protocol));
    };
    if protocol != TCP && protocol != UDP {
        return Err(words.expected("the end of the line (only tcp and udp have ports)"));
    }
    if word.text != "port" {
        return Err(words.expected("`port` or the end of the line"));
    }
    let port = words
        .next()
        .and_then(|word| number(word.text))
        .ok_or_else(|| words.expected("a port number from 0 to 65535"))?;
    words.end()?;
    Ok(Service::Port { protocol, port })
}

/// Digits alone: `parse` would take a sign.
fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    let digits = text.bytes().all(|it| it.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

/// A line's words, up to a `#`.
struct Words<'a> {
    line: usize,
    rest: &'a str,
    /// Where `rest` begins.
    column: usize,
    /// The word that `next` gave, or the end of the line.
    last: Word<'a>,
}

#[derive(Clone, Copy)]
struct Word<'a> {
    line: usize,
    column: usize,
    text: &'a str,
}

impl<'a> Words<'a> {
    fn of(line: usize, text: &'a str) -> Self {
        let rest = text.split_once('#').map_or(text, |(before, _)| before);
        let last = Word {
            line,
            column: 1,
            text: "",
        };
        Self {
            line,
            rest,
            column: 1,
            last,
        }
    }

    fn next(&mut self) -> Option<Word<'a>> {
        let start = self.rest.trim_start();
        let blanks = &self.rest[..self.rest.len() - start.len()];
        let end = start.find(char::is_whitespace).unwrap_or(start.len());
        let (text, rest) = start.split_at(end);
        // The end of a line is where its last word ends, not behind its blanks.
        let skipped = if text.is_empty() {
            0
        } else {
            blanks.chars().count()
        };
        self.last = Word {
            line: self.line,
            column: self.column + skipped,
            text,
        };
        self.column = self.last.column + text.chars().count();
        self.rest = rest;
        (!text.is_empty()).then_some(self.last)
    }

    fn end(&mut self) -> Result<(), Fault> {
        match self.next() {
            None => Ok(()),
            Some(_) => Err(self.expected("the end of the line")),
        }
    }

    /// That the word that `next` gave last is another one than was expected.
    fn expected(&self, what: &str) -> Fault {
        let found = match self.last.text {
            "" => "the end of the line".to_owned(),
            text => format!("`{text}`"),
        };
        self.last.fault(format!("expected {what}, found {found}"))
    }
}

impl<'a> Word<'a> {
    fn fault(&self, message: String) -> Fault {
        Fault {
            line: self.line,
            column: self.column,
            message,
        }
    }

    /// What follows this beginning of the word and one more character.
    fn after(self, beginning: &str) -> Word<'a> {
        let skipped = beginning.len() + 1;
        Word {
            column: self.column + skipped,
            text: self.text.get(skipped..).unwrap_or(""),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<String> {
        let faults = parse(text).unwrap_err();
        faults.iter().map(Fault::to_string).collect()
    }

    fn subject(source: Option<(&str, u8)>, service: Service) -> Subject {
        Subject {
            source: source.map(|(address, length)| {
                Prefix::around(address.parse().expect("an address"), length)
            }),
            service,
        }
    }

    #[test]
    fn every_form_of_rule_is_read() {
        let policy = parse(
            "# who may\n\
             deny  10.0.0.0/8\n\
             \t allow 192.0.2.7   # one address\r\n\
             \n\
             deny udp port 53\n\
             deny 10.1.0.0/16 tcp port 22\n\
             allow 2001:db8::/32 icmpv6\n\
             deny any protocol 47\n\
             allow any\n\
             allow any\n\
             default deny",
        )
        .unwrap();
        let port = |protocol, port| Service::Port { protocol, port };
        let expected = [
            (
                subject(Some(("10.0.0.0", 8)), Service::Everything),
                Action::Deny,
            ),
            (
                subject(Some(("192.0.2.7", 32)), Service::Everything),
                Action::Allow,
            ),
            (subject(None, port(UDP, 53)), Action::Deny),
            (subject(Some(("10.1.0.0", 16)), port(TCP, 22)), Action::Deny),
            (
                subject(Some(("2001:db8::", 32)), Service::Protocol(58)),
                Action::Allow,
            ),
            (subject(None, Service::Protocol(47)), Action::Deny),
            (subject(None, Service::Everything), Action::Allow),
        ];
        assert_eq!(policy.rules, BTreeMap::from(expected));
        assert_eq!(policy.default, Action::Deny);
    }

    #[test]
    fn an_empty_file_allows_everything() {
        let policy = parse("").unwrap();
        assert_eq!((policy.rules.len(), policy.default), (0, Action::Allow));
    }

    #[test]
    fn every_fault_is_told_with_its_place() {
        assert_eq!(
            faults(
                "drop 10.0.0.0/8\n\
                 allow\n\
                 allow   sctp\n\
                 deny 10.0.0.0/33\n\
                 deny 10.0.0.1/8\n\
                 deny 10.0.0\n\
                 deny 10.0.0.0/8 tpc\n\
                 deny any icmp port 5\n\
                 deny any tcp prot 5\n\
                 deny any tcp port 65536\n\
                 deny any tcp port +5\n\
                 deny any tcp port 5 6\n\
                 deny protocol 256\n\
                 default # what?\n\
                 default deny\n\
                 default deny\n\
                 deny 0.0.0.0/0\n\
                 allow any"
            ),
            [
                "1:1: expected `allow`, `deny` or `default`, found `drop`",
                "2:6: expected a prefix, `any` or a protocol, found the end of the line",
                "3:9: expected a prefix, `any` or a protocol, found `sctp`",
                "4:15: expected a prefix length from 0 to 32, found `33`",
                "5:6: the address has bits behind the prefix: `10.0.0.0/8` is the prefix, \
                 `10.0.0.1` the address",
                "6:6: expected an IPv4 or IPv6 address, found `10.0.0`",
                "7:17: expected `tcp`, `udp`, `icmp`, `icmpv6` or `protocol`, found `tpc`",
                "8:15: expected the end of the line (only tcp and udp have ports), found `port`",
                "9:14: expected `port` or the end of the line, found `prot`",
                "10:19: expected a port number from 0 to 65535, found `65536`",
                "11:19: expected a port number from 0 to 65535, found `+5`",
                "12:21: expected the end of the line, found `6`",
                "13:15: expected a protocol number from 0 to 255, found `256`",
                "14:8: expected `allow` or `deny`, found the end of the line",
                "16:1: line 15 says what the default is",
                "18:1: line 17 says the opposite",
            ]
        );
    }

    #[test]
    fn no_text_makes_it_panic() {
        proptest::proptest!(|(text in "[ade0-9./:#\\p{L}\\n\\t ]{0,60}")| {
            let _ = parse(&text);
        });
    }
}
