//! Columns.

/// How a column's cells stand.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Align {
    Left,
    Right,
}

/// Rows as text: each column as wide as its widest cell, two spaces between columns, each row
/// behind the indentation, no space at a row's end.
pub(crate) fn table(indent: &str, columns: &[(&str, Align)], rows: &[Vec<String>]) -> String {
    let width = |index: usize| {
        let cells = rows.iter().map(|row| row[index].chars().count());
        cells.chain([columns[index].0.chars().count()]).max()
    };
    let widths: Vec<_> = (0..columns.len())
        .map(|index| width(index).unwrap_or(0))
        .collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let cells = cells.zip(&widths).zip(columns);
        let padded = cells.map(|((cell, width), (_, align))| match align {
            Align::Left => format!("{cell:<width$}  "),
            Align::Right => format!("{cell:>width$}  "),
        });
        let line = indent.to_owned() + &padded.collect::<String>();
        line.trim_end().to_owned() + "\n"
    };
    let mut text = line(&mut columns.iter().map(|(title, _)| *title));
    for row in rows {
        text += &line(&mut row.iter().map(String::as_str));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let columns = [
            ("Name", Align::Left),
            ("Id", Align::Right),
            ("End", Align::Left),
        ];
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let rows = [row(["größer", "7", ""]), row(["b", "1234", "x"])];
        assert_eq!(
            table(" ", &columns, &rows),
            " Name      Id  End\n größer     7\n b       1234  x\n"
        );
    }
}
