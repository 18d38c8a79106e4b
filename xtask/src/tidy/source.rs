//! The code of a Rust file, without its comments and literals.

/// The text with spaces for what comments and literals say; line ends stay where they are.
pub(super) fn code(text: &str) -> String {
    let mut rest = text;
    let mut code = String::with_capacity(text.len());
    while let Some(first) = rest.chars().next() {
        let in_word = code.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let length = silent_length(rest, in_word);
        if length == 0 {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            let (silent, behind) = rest.split_at(length);
            code.extend(silent.chars().map(|c| if c == '\n' { c } else { ' ' }));
            rest = behind;
        }
    }
    code
}

/// The length of the comment or literal that begins here; 0 if none does.
fn silent_length(text: &str, in_word: bool) -> usize {
    if text.starts_with("//") {
        text.find('\n').unwrap_or(text.len())
    } else if text.starts_with("/*") {
        block_comment(text)
    } else if text.starts_with('\'') {
        character(text)
    } else if text.starts_with('"') {
        string(text)
    } else if in_word {
        0
    } else {
        raw_string(text)
    }
}

fn block_comment(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < text.len() {
        if text[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// A character literal; a lifetime is none.
fn character(text: &str) -> usize {
    let mut characters = text.char_indices().skip(1);
    match characters.next() {
        // The escaped character may be a quote.
        Some((_, '\\')) => text
            .get(3..)
            .and_then(|text| text.find('\''))
            .map_or(0, |end| end + 4),
        Some(_) => match characters.next() {
            Some((at, '\'')) => at + 1,
            _ => 0,
        },
        None => 0,
    }
}

fn string(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// `r"…"`, `br#"…"#` and their kind.
fn raw_string(text: &str) -> usize {
    let Some(mark) = ["r", "br", "cr"].into_iter().find(|mark| {
        let behind = text.strip_prefix(mark);
        behind.is_some_and(|text| text.trim_start_matches('#').starts_with('"'))
    }) else {
        return 0;
    };
    let behind = &text[mark.len()..];
    let hashes = behind.len() - behind.trim_start_matches('#').len();
    let end = format!("\"{}", "#".repeat(hashes));
    let start = mark.len() + hashes + 1;
    text[start..]
        .find(&end)
        .map_or(text.len(), |at| start + at + end.len())
}

#[cfg(test)]
mod tests {
    use super::code;

    #[test]
    fn comments_and_literals_are_blank_and_the_rest_stays_where_it_is() {
        let text =
            "a(\"unsafe \\\" std\"); // unsafe\n/* b /* c */ d\n*/ e('\"', b'\\'', r#\"f\"g\"#);";
        let expected = [
            format!("a({});{}", " ".repeat(15), " ".repeat(10)),
            " ".repeat(14),
            format!(
                "{}e({}, b{}, {});",
                " ".repeat(3),
                " ".repeat(3),
                " ".repeat(4),
                " ".repeat(8)
            ),
        ];
        assert_eq!(code(text).lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_lifetime_is_code() {
        let text = "fn f<'a>(a: &'a str) -> &'static str { a }";
        assert_eq!(code(text), text);
    }
}
