//! Columns, aligned as Go's tabwriter aligns them: at least so wide, three blanks between.

use std::io::Write;

/// Blanks between two columns.
const BETWEEN: usize = 3;

/// Aligns lines whose cells are separated by tabs.
pub(crate) fn align(lines: &str, least: usize) -> String {
    // The least width counts the blanks between in Go, and does not count them here.
    let least = least.saturating_sub(BETWEEN);
    let mut writer = tabwriter::TabWriter::new(Vec::new()).minwidth(least).padding(BETWEEN);
    // Writing into a vector does not fail.
    let _ = writer.write_all(lines.as_bytes()).and_then(|()| writer.flush());
    writer
        .into_inner()
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .unwrap_or_else(|| lines.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_dockers() {
        let lines =
            "CONTAINER ID\tIMAGE\tCOMMAND\tNAMES\n111111111111\tbusybox\t\"sh -c 'echo…\"\tweb\n";
        assert_eq!(
            align(lines, 10),
            "CONTAINER ID   IMAGE     COMMAND          NAMES\n\
             111111111111   busybox   \"sh -c 'echo…\"   web\n"
        );
        assert_eq!(align("DRIVER\tVOLUME NAME\n", 10), "DRIVER    VOLUME NAME\n");
        assert_eq!(align("a\t\tc\n", 10), "a                   c\n", "an empty cell has its width");
    }
}
