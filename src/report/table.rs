//! Aligned columns, nothing else: what is printed can be copied and cut.

/// Rows under a heading, columns padded to the widest cell, two spaces between.
pub fn table<const N: usize>(heading: [&str; N], rows: &[[String; N]]) -> String {
    let mut width = heading.map(|cell| cell.chars().count());
    for row in rows {
        for (width, cell) in width.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |row: [&str; N]| {
        let cells = row.iter().zip(width).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    let mut out = line(heading);
    for row in rows {
        out.push_str(&line(row.each_ref().map(String::as_str)));
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn columns_are_aligned() {
        let rows = [["git".to_owned(), "ok".to_owned()], ["registry".to_owned(), String::new()]];
        assert_eq!(super::table(["NAME", "STATE"], &rows), "NAME      STATE\ngit       ok\nregistry\n");
    }
}
