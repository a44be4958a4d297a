//! Tables as kubectl lays them out: columns by width, three spaces between.

use console::measure_text_width;

use super::visible;

/// Lays out rows under a heading; every row has as many cells as the heading.
/// Control characters are shown as escapes, so that a cell cannot forge a row.
pub fn table(heading: &[&str], rows: &[Vec<String>]) -> String {
    let shown = |cell: &String| visible::line(cell).into_owned();
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(shown).collect()).collect();
    let width = |column: usize| {
        rows.iter()
            .map(|row| measure_text_width(&row[column]))
            .chain([measure_text_width(heading[column])])
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heading.len()).map(width).collect();
    let mut text = String::new();
    let heading: Vec<String> = heading.iter().map(|&cell| cell.to_owned()).collect();
    for row in std::iter::once(&heading).chain(&rows) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(cell);
            // A cell may hold wide characters, which `format!` would count as one.
            line.extend(std::iter::repeat_n(' ', width - measure_text_width(cell) + 3));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_with_wide_characters() {
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        insta::assert_snapshot!(table(&["KEY", "STATE"], &[row(["pr-1", "ready"]), row(["機能/登録", "x"])]), @r"
        KEY         STATE
        pr-1        ready
        機能/登録   x
        ");
    }
}
