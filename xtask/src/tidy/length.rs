//! How long a file may be.

use super::tree::Tree;
use super::violation::Violation;

/// What is longer is read by nobody at once.
const LINES_MAX: usize = 500;

pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    tree.rust()
        .filter_map(|(path, text)| {
            let lines = text.lines().count();
            (lines > LINES_MAX).then(|| {
                let text = format!("{lines} lines, at most {LINES_MAX}: move a part to a module");
                Violation::new(path, LINES_MAX + 1, text)
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_more_is_too_long() {
        let fits = "\n".repeat(LINES_MAX);
        let longer = "\n".repeat(LINES_MAX + 1);
        let tree = Tree::of(&[("a.rs", &fits), ("b.rs", &longer)]);
        let found = check(&tree);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((&*found[0].path, found[0].line), ("b.rs", 501));
    }
}
