//! Text from somebody else, made safe to print.

use std::borrow::Cow;

/// The text on one line, with everything that could steer a terminal or deceive a reader written
/// out: control characters, line ends, bidirectional overrides, invisible and combining characters
/// (`\u{1b}`, `\n`), and the backslash itself, so that nothing printed has two meanings.
///
/// For names and messages that a client chose. A log of several lines is escaped line by line.
pub fn escape(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_plain(character) {
            escaped.push(character);
        } else {
            escaped.extend(character.escape_debug());
        }
    }
    Cow::Owned(escaped)
}

/// `escape_debug` knows what Unicode calls unprintable; quotes mean nothing outside of quotes.
fn is_plain(character: char) -> bool {
    matches!(character, '\'' | '"') || character.escape_debug().len() == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_is_borrowed() {
        for text in ["", "stats", "it's \"eth0\"", "größer 日本語 →"] {
            assert!(matches!(escape(text), Cow::Borrowed(same) if same == text));
        }
    }

    #[test]
    fn what_steers_a_terminal_is_written_out() {
        for (text, escaped) in [
            ("\u{1b}[2J", r"\u{1b}[2J"),
            ("a\r\nb\tc\0", r"a\r\nb\tc\0"),
            ("\u{7f}\u{8}\u{9b}", r"\u{7f}\u{8}\u{9b}"),
        ] {
            assert_eq!(escape(text), escaped);
        }
    }

    #[test]
    fn what_deceives_a_reader_is_written_out() {
        let deceivers = "\u{ad}\u{61c}\u{200b}\u{200d}\u{200e}\u{202a}\u{202e}\u{2028}\u{2029}\
            \u{2060}\u{2066}\u{2069}\u{feff}\u{e0041}\u{a0}\u{3000}\u{301}\u{fe0f}\u{e000}";
        for character in deceivers.chars() {
            let text = character.to_string();
            assert_eq!(escape(&text), character.escape_unicode().to_string());
        }
    }

    #[test]
    fn two_texts_never_print_the_same() {
        assert_eq!(escape("\\n"), r"\\n");
        assert_ne!(escape("\\n"), escape("\n"));
    }
}
