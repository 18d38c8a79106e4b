//! Comments that say nothing.

use super::tree::Tree;
use super::violation::Violation;

/// A question is no description.
const EMPTY: &[&str] = &[
    "Who.", "Which.", "What.", "Whose.", "Why.", "How.", "When.", "Where.",
];

pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    tree.rust()
        .flat_map(|(path, text)| check_file(path, text))
        .collect()
}

fn check_file(path: &str, text: &str) -> Vec<Violation> {
    let lines: Vec<_> = text.lines().map(comment).collect();
    // A word at the end of a longer comment is a part of its sentence.
    let alone = |index: usize| index == 0 || lines[index - 1].is_none();
    lines
        .iter()
        .enumerate()
        .filter_map(|(index, comment)| {
            let comment = comment.filter(|text| EMPTY.contains(text))?;
            alone(index).then(|| {
                let text = format!("\"{comment}\" says nothing: describe it with a noun");
                Violation::new(path, index + 1, text)
            })
        })
        .collect()
}

fn comment(line: &str) -> Option<&str> {
    line.trim_start().strip_prefix("///").map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_of_one_question_is_found() {
        let text = "struct A {\n    /// Why.\n    a: u32,\n    /// The map's name. Who\n    /// What.\n\
                    b: u32,\n    /// Why it failed.\n    c: u32,\n}\n";
        let found = check_file("a.rs", text);
        let lines: Vec<_> = found.iter().map(|found| found.line).collect();
        assert_eq!(lines, [2]);
    }
}
