//! The names that code takes from a crate, by path or by `use`.

/// A name behind `root::`, alone or in a group.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Name<'a> {
    pub(super) line: usize,
    pub(super) name: &'a str,
}

/// The names in code behind `root::`, among them those of the modules on the way.
pub(super) fn names_of<'a>(code: &'a str, root: &str) -> Vec<Name<'a>> {
    let path = format!("{root}::");
    let mut found = Vec::new();
    for (at, _) in code.match_indices(&path) {
        if code[..at].ends_with(is_word) {
            continue;
        }
        let start = at + path.len();
        let mut end = code[start..]
            .find(|c| !is_word(c) && c != ':')
            .map_or(code.len(), |length| start + length);
        if code[end..].starts_with('{') {
            end += group(&code[end..]);
        }
        for (place, word) in words(&code[start..end]) {
            let line = line_of(code, start + place);
            found.push(Name { line, name: word });
        }
    }
    found
}

/// The words of code, with where each begins.
pub(super) fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    code.split(|c| !is_word(c)).filter_map(move |word| {
        let start = code[at..].find(word)? + at;
        at = start + word.len();
        (!word.is_empty()).then_some((start, word))
    })
}

/// The line of a place; the first is 1.
pub(super) fn line_of(code: &str, at: usize) -> usize {
    code[..at].matches('\n').count() + 1
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn group(text: &str) -> usize {
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => return at,
            '}' => depth -= 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_paths_and_groups() {
        let code = "use std::{\n    fmt,\n    io::{self, Read},\n};\nlet a: std::time::Instant = mystd::no;\nuse std::os::{unix::fs};";
        let names: Vec<_> = names_of(code, "std")
            .into_iter()
            .map(|name| (name.line, name.name))
            .collect();
        let expected = [
            (2, "fmt"),
            (3, "io"),
            (3, "self"),
            (3, "Read"),
            (5, "time"),
            (5, "Instant"),
            (6, "os"),
            (6, "unix"),
            (6, "fs"),
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn a_word_is_found_where_it_is_a_word_of_its_own() {
        let code = "abc a;a";
        let places: Vec<_> = words(code).filter(|(_, word)| *word == "a").collect();
        assert_eq!(places, [(4, "a"), (6, "a")]);
    }
}
